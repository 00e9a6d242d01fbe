"""Runs of agent programs: one phase of a workflow each.

A worker starts a *shim* for each run, and the shim starts the agent: with its arguments as a list, the prompt on
standard input, in a session of its own. The shim reads the agent's output (`presets`), makes it readable, stores it,
and records how the run ended. It outlives the worker: the next worker on this host that gets the job finds the run's
folder by the job's id and waits for the running agent instead of starting another.

Other packages may import `model` at no cost; this package imports nothing by itself, because a shim must start fast.
"""
