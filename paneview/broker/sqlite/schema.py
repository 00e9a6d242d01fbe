"""The tables. Every state that is queried has its own partial index, so that no backlog slows a claim down."""

from __future__ import annotations

COLUMNS = (
    "id", "state", "lane", "priority", "kind", "payload", "target", "timeout", "attempts", "max_attempts", "token",
    "key", "meta", "after", "waits_for", "grp", "submitted_by", "submitted_at", "due", "not_before", "owner",
    "leased_at", "lease_until", "lease_seconds", "cancel", "errors", "result", "ended_at",
)  # fmt: skip

MIGRATIONS = (
    """
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        lane TEXT NOT NULL,
        priority INTEGER NOT NULL,
        kind TEXT NOT NULL,
        payload TEXT NOT NULL,           -- JSON
        target TEXT NOT NULL,            -- the lane it was submitted to
        timeout REAL NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        max_attempts INTEGER NOT NULL,
        token INTEGER NOT NULL DEFAULT 0,
        key TEXT,
        meta TEXT NOT NULL,              -- JSON
        after TEXT NOT NULL,             -- JSON, ids
        waits_for INTEGER NOT NULL,      -- how many of them are not done
        grp TEXT NOT NULL,
        submitted_by TEXT NOT NULL,
        submitted_at REAL NOT NULL,      -- wall clock
        due REAL,                        -- since boot: not to be queued before
        not_before REAL,                 -- wall clock, the same moment
        owner TEXT NOT NULL DEFAULT '',
        leased_at REAL,                  -- wall clock
        lease_until REAL,                -- since boot
        lease_seconds REAL,
        cancel TEXT,                     -- why somebody wants it cancelled
        errors TEXT NOT NULL DEFAULT '', -- JSON objects, a comma between them
        result TEXT,                     -- JSON
        ended_at REAL                    -- wall clock
    );
    CREATE UNIQUE INDEX jobs_key ON jobs (key) WHERE key IS NOT NULL;
    CREATE INDEX jobs_queued ON jobs (lane, priority DESC, seq) WHERE state = 'queued';
    CREATE INDEX jobs_delayed ON jobs (lane, due) WHERE state = 'delayed';
    CREATE INDEX jobs_due ON jobs (due) WHERE state = 'delayed';
    CREATE INDEX jobs_blocked ON jobs (lane) WHERE state = 'blocked';
    CREATE INDEX jobs_leases ON jobs (lease_until) WHERE state = 'leased';
    CREATE INDEX jobs_over ON jobs (state, seq) WHERE state IN ('done', 'dead', 'cancelled');
    CREATE INDEX jobs_grp ON jobs (grp, seq) WHERE grp <> '';
    CREATE TABLE needs (need TEXT NOT NULL, job TEXT NOT NULL, PRIMARY KEY (need, job)) WITHOUT ROWID;
    CREATE INDEX needs_job ON needs (job);
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, ts REAL NOT NULL, kind TEXT NOT NULL, job TEXT NOT NULL, worker TEXT NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE TABLE bells (topic TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (topic, path)) WITHOUT ROWID;
    CREATE TABLE flags (
        scope TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, until REAL, PRIMARY KEY (scope, name)
    ) WITHOUT ROWID;
    CREATE TABLE workers (
        id TEXT PRIMARY KEY, info TEXT NOT NULL, started_at REAL NOT NULL, beat REAL NOT NULL, ttl REAL NOT NULL,
        gone REAL
    );
    CREATE TABLE leaders (name TEXT PRIMARY KEY, owner TEXT NOT NULL, epoch INTEGER NOT NULL, until REAL NOT NULL);
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    """,
    """
    CREATE TABLE documents (
        scope TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (scope, name)
    ) WITHOUT ROWID;
    """,
    # Done jobs are found by scanning back from the newest; an index entry for each would cost every job a tenth of its
    # time.
    """
    DROP INDEX jobs_over;
    CREATE INDEX jobs_failed ON jobs (state, seq) WHERE state IN ('dead', 'cancelled');
    """,
    # SQLite cannot infer a member's condition from the index's IN list, so no query used that index.
    """
    DROP INDEX jobs_failed;
    CREATE INDEX jobs_dead ON jobs (seq) WHERE state = 'dead';
    CREATE INDEX jobs_cancelled ON jobs (seq) WHERE state = 'cancelled';
    """,
)
