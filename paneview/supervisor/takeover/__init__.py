"""Taking over from an earlier supervisor: what it recorded, and what still runs."""
