"""The broker for many hosts: Redis 6.2 or later through redis-py, also behind sentinels or as a cluster.

**Every step is one Lua script**, called by its hash (functions would need 7.0), so nothing is ever half done and no
lock is needed. Scripts compute the names of keys, which all begin with ``{PREFIX}:``, so that they share a hash slot
and an ACL can name them (``~{PREFIX}:*``). The clock is the server's ``TIME``, read inside the script.

**If a reply is lost** with its connection, the request is repeated: a submit is recognised by the job's id, a finish by
its token, a claim by a request name under which the script finds what it leased the first time.

**Sleeping** is BLPOP on lists of tokens, one list per lane. Each token wakes one sleeper, the one that waited longest;
a claim that leaves work puts a token back, and one that finds the lane empty discards the rest. A token lost with the
process it woke costs a second: the time until the next look (`Settings.look`).

**When a server comes back** after it was restarted, or a replica has taken over, leases may have run out because nobody
could renew them. They are all given their full length once more, so that jobs under way are not begun again.

**Streams** are not suitable for jobs: they have neither priority nor delay, and the idle time of a pending entry is no
lease. One stream carries the events.

With AOF (``appendonly yes``), acknowledged submits survive a ``kill -9`` of the server: always with ``appendfsync
always`` or ``no``; with ``everysec`` unless the disk was so busy that the server postponed the write, for two seconds
at most. Eviction would drop leases and jobs, so there is a warning unless ``maxmemory-policy`` is ``noeviction``.
"""
