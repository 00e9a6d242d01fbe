"""The shell around the rules: turns events into the rules' inputs, and carries out what the rules decide.

One event loop, one thread. Nothing in this package blocks: SQLite, probes, `/proc` passes and files are reached through
the packages below, each with its own thread or process where it needs one.
"""
