"""The broker on a folder that all hosts share, an NFSv4 mount for instance. No server, no lock files.

**A job is one file that only ever moves.** Its text never changes after it was written; which folder it is in is its
state, and its name says what the state needs: order, id, fencing token, attempts, and for a lease its length and owner.
``rename`` is the one step that decides: of any number who move the same file, one succeeds. So a job is never in
two states, and a stale holder finds its file gone. Every claim moves to a name that no other claim could mean (MARK is
random): a name that is there after an unclear answer is then proof of who made it.

::

    tasks/  results/  logs/          as claude-queue has them; its scripts can submit, list, ask, wait
    paneview/ready/LANE/    ORDER_ID.TOKEN.ATTEMPTS.json         delayed/LANE/, blocked/LANE/: the due time before it
    paneview/leased/        ORDER_ID.TOKEN.ATTEMPTS.LEASE.SINCE-MARK.OWNER.json, touched by each renewal
    paneview/done/SHARD/    as in ready; also dead/SHARD/, cancelled/SHARD/
    paneview/ids/SHARD/     ID.json, a second link: every job by its id; keys/, groups/: by key and by group
    paneview/results/       ID.TOKEN.STATE.…json, brought but not yet accepted
    paneview/entry/         ID.….json, a job that comes in; from here it gets its links, then moves to its first state
    paneview/stage/ outbox/ jobs that come together: a folder is filled, then renamed into the outbox, then emptied

**A finish** writes its result beside (``paneview/results/``, fsync), then moves the job from ``leased`` to ``done``:
that is the commit. Only then does the result get the name its readers know. Whoever finds a commit whose rest is
missing, because its maker was killed, does the rest; every such step may be done twice.

**The clock** is the file server's: a lease is judged by its file's modification time against that of a probe file
that was touched just now. Before a lease is called lost its file is opened, which makes NFS forget what it has cached,
and the probe is read first: whatever happens between the two looks makes the lease younger, never older.

**Waking**: inotify where the writer is on this host; it does not see other hosts' writes, so there is a look every
``interval`` seconds. Files nobody knows, or only half written, and folders, FIFOs and the like where a file belongs are
moved to ``paneview/aside`` and told as an event.
"""
