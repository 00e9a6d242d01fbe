"""Runs of agent programs: one phase of a workflow each.

A worker starts a *shim* for each run, and the shim starts the agent: with its arguments as a list, the prompt on
standard input, in a session of its own. The shim reads what the agent says (`presets`), shows it, keeps it, and writes
how it ended. It outlives the worker: whoever gets the job next on this host finds the run's folder by the job's id and
waits for the agent that is running instead of starting another.

`model` is what others may import without a thought; nothing here is imported before it is asked for, since a shim's
start counts.
"""
