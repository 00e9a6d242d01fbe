"""Logs on the screen: fetching lines as they are needed, the window on them, searching, selecting and copying."""
