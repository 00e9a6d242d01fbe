"""The shell around the rules: turns what happens into the rules' events, and carries out what the rules decide.

One event loop, which nothing here blocks: SQLite, probes, `/proc` passes and files are reached through the packages
below, each with its own thread or process where it needs one; what waits for the queue or reads logs has its own here.
"""
