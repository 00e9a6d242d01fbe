"""The broker on a folder that all hosts share, such as an NFSv4 mount. No server, no lock files.

**A job is one file that only ever moves.** Its text never changes once written; the folder it is in is its state, and
its name holds what the state needs: order, id, fencing token, attempts, and for a lease its length and owner.
``rename`` is the one step that decides: of any number of processes that move the same file, one succeeds. So a job is
never in two states, and a stale holder finds its file gone. Every claim moves the file to a name no other claim could
produce (MARK is random), so a name that exists after an unclear answer proves who made it.

::

    tasks/  results/  logs/          as in claude-queue, whose scripts can submit, list, query and wait
    paneview/ready/LANE/    ORDER_ID.TOKEN.ATTEMPTS.json         delayed/LANE/, blocked/LANE/: prefixed by the due time
    paneview/leased/        ORDER_ID.TOKEN.ATTEMPTS.LEASE.SINCE-MARK.OWNER.json, touched by each renewal
    paneview/done/SHARD/    as in ready; also dead/SHARD/, cancelled/SHARD/
    paneview/ids/SHARD/     ID.json, a second link: every job by its id; keys/, groups/: by key and by group
    paneview/results/       ID.TOKEN.STATE.…json, delivered but not yet accepted
    paneview/entry/         ID.….json, a job being submitted: it gets its links here, then moves to its first state
    paneview/stage/ outbox/ jobs submitted together: a folder is filled, then renamed into the outbox, then emptied

**A finish** first writes its result (``paneview/results/``, fsync), then moves the job from ``leased`` to ``done``:
that is the commit. Only then does the result get the name its readers know. Any process that finds a commit left
incomplete by a kill does the rest; every such step may be done twice.

**The clock** is the file server's: the modification time of a lease's file is compared to that of a probe file touched
just now. Before a lease is considered lost its file is opened, which makes NFS drop what it has cached, and the probe
is read first: whatever happens between the two reads makes the lease younger, never older.

**Waking**: inotify for writes on this host; it does not see those of other hosts, so there is a look every ``interval``
seconds. Unknown and half-written files, and folders, FIFOs and the like where a file belongs, are moved to
``paneview/aside`` and reported as an event.
"""
