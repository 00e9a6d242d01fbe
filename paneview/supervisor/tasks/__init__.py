"""The tasks of one project: the life of each, and what they do together."""
