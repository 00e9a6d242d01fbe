"""The broker for many hosts: Redis 6.2 or later through redis-py, also behind sentinels or as a cluster.

**Every step is one Lua script**, sent by its hash (functions would need 7.0), so nothing is ever half done and no lock
is needed. Scripts compute the names of keys; all of them begin with ``{PREFIX}:``, so they share a hash slot and an ACL
can name them (``~{PREFIX}:*``). The clock is the server's ``TIME``, read inside the script.

**A reply that was lost** with its connection is asked for again: a submit is known by the job's id, a finish by its
token, a claim by a name of its own under which the script finds what it leased the first time.

**Sleeping** is BLPOP on lists of tokens, one per lane. Each token wakes one sleeper, the one that waited longest; a
claim that leaves work behind puts a token back, one that finds the lane empty throws the rest away. A token that died
with the process it woke costs a second: the look behind.

**Streams** would not do: they know no priority and no delay, and the idle time of a pending entry is no lease. One
carries the events.

AOF (``appendonly yes``) makes what was told submitted survive a ``kill -9`` of the server: always with ``appendfsync
always`` or ``no``; with ``everysec`` unless the disk was so busy that the server let its file wait, two seconds at
most. Eviction would drop leases and jobs: anything but ``maxmemory-policy noeviction`` is warned about.
"""
