"""Random kills of the real thing, seen from outside: the command line, `kill -9`, and what the tasks themselves wrote.

Each scenario has a short run in the suite and a long one: ``pytest -m chaos tests/chaos``. The seed of a run stands in
its test's name, and a failure names the round; the instants are not reproducible to the microsecond.
"""
