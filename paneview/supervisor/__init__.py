"""The shell around the rules: turns what happens into inputs, and what the rules decide into deeds.

One event loop, one thread. Nothing in this room blocks: SQLite, probes, `/proc` passes and files are reached through
the rooms below, each with its own thread or process where it needs one.
"""
