"""Measurements: ``python -m tests.bench`` prints one table, each figure beside its reference from the same
run.

These are not timed tests: nothing here fails on a slow machine. A module ``bench_*.py`` offers
``rows(settings)``, which yields `Row`; a figure says little without a reference taken on the same machine within
minutes of it. Everything runs on private tmux sockets and in a private state folder, and only what was started
here is ended.
"""
