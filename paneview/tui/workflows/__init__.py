"""Workflows on the screen: their tables and details, and what may be done to them."""
