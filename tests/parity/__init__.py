"""Every row of what the predecessors could do, and of what went wrong with them, as a test from outside.

`test_T01_…` to `test_T20_…` are the rows of taskmux, each with what goes beyond it: the installed command, real tmux,
real processes, and nothing of the program imported. `test_lessons` says for each thing that went wrong elsewhere which
test shows the opposite.
"""
