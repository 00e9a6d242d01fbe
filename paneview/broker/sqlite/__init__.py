"""The embedded broker: one SQLite file next to the project's other state; nothing to install, one host.

**The known defect.** SQLite 3.7.0 to 3.51.2 (and 3.52.0, which was withdrawn) can corrupt a database in WAL mode: when
a checkpoint runs while another connection's commit restarts the log, frames may count as copied that were not. Python's
SQLite is often older than the fix. So no connection checkpoints on its own (``wal_autocheckpoint=0``), and the few
checkpoints that are due run while their process holds the *gate*, which every writing transaction holds as well: a
checkpoint and a commit never overlap. The last connection to close checkpoints, so closing holds the gate, too.

**The gate** is a ``flock`` on a file next to the database, instead of SQLite's own wait: a killed holder frees it at
once, ``database is locked`` never occurs, and four processes claim as fast as one.

**A stopped process** (SIGSTOP, a debugger, a suspended container) that holds the gate or SQLite's own lock releases it
only when it is continued or killed. So every wait has a limit: writers give up with an error that names the process,
closing proceeds without the gate, and queries, heartbeats and opening an intact queue need no lock at all. A supervisor
or watchdog therefore sees which worker is silent and kills it, and work goes on.

**The clock** of leases and delays is the time since boot, which cannot be set; the times people read are the wall
clock's. After a reboot every lease has run out (all holders died) and delays are computed again. Leases that ran out
while the machine slept, or while nothing could be written, are not lost at once: their holders can renew them first.

**Waking**: each waiter binds a Unix datagram socket and stores its path in the database under its topics; a process
that commits something rings the sockets of its topics. Watching the WAL file instead is unsound: it is written before
the commit is visible.

Commits survive any kill (``synchronous=NORMAL``), and with ``?durable=full`` also a power cut, at a tenth of the speed.
"""
