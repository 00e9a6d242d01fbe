"""Data that outlives every process: state, events and logs in SQLite.

Two databases per project, each with one writer and any number of readers:

``state.db``  tasks, runs and events; written by the supervisor (:mod:`~paneview.store.state`), read by anyone
              (:mod:`~paneview.store.state_reader`).
``logs.db``   output as chunks of raw bytes; written by one ingest thread (:mod:`~paneview.store.ingest`),
              read by anyone (:mod:`~paneview.store.reader`), together with what is still in the spool.

A single writer is a matter of safety, not only of speed: SQLite 3.7.0 to 3.51.2 can corrupt a database in
WAL mode when several connections write or checkpoint at the same time, and many Pythons ship such a
version. Here one connection writes and checkpoints; all others are opened read-only and can do neither.

This package imports nothing by itself, so that the command line loads only the modules it needs.
"""
