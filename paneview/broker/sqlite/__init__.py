"""The embedded broker: one SQLite file beside the project's other state, nothing to install, one host.

**The known defect.** SQLite 3.7.0 to 3.51.2 (and 3.52.0, which was withdrawn) can corrupt a database in WAL mode: when
a checkpoint runs while another connection's commit begins the log anew, frames may count as copied that were not.
Python's SQLite is often older than the fix. So no connection checkpoints by itself (``wal_autocheckpoint=0``), and the
few that are due happen while their process holds the *gate*, which every writing transaction passes, too: a checkpoint
and a commit never overlap. A connection that closes last checkpoints, so closing passes the gate as well.

**The gate** is a ``flock`` on a file beside the database, in place of SQLite's own wait: a killed holder frees it at
once, ``database is locked`` is never the answer, and four processes claim as fast as one.

**A stopped process** (SIGSTOP, a debugger, a suspended container) that holds the gate or SQLite's own lock can be made
to let go by nobody but who lets it go on or kills it. So no wait is endless: writers give up with an error that names
it, closing goes on without the gate, and opening a queue that is as it should be, every question and every heartbeat
need no lock at all. A supervisor or watchdog therefore sees which worker is silent, and kills it; then all goes on.

**The clock** of leases and delays is the machine's time since its boot, which nobody can set; the times people read
are the wall clock's. After a reboot every lease has run out (all holders died) and delays are counted anew.

**Waking**: each waiter binds a Unix datagram socket and leaves its path in the database under its topics; who commits
something then rings those. Watching the WAL file instead is unsound: it is written before the commit can be seen.

Commits survive any kill (``synchronous=NORMAL``); with ``?durable=full`` a power cut, too, at a tenth of the speed.
"""
