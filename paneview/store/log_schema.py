"""The schema of ``logs.db``: output as chunks of raw bytes, numbered by line.

task    id, name; first: the oldest line that may be shown; next, part: the number of the line the next byte
        belongs to, and how many bytes of it are stored already; run, segment: which writer was last; bytes:
        the sum of its bodies; text_line, text_size, text_inode: the progress of the plain text file
run     id, task; first, next: its lines; attach, file, offset: the first byte of its spool that is not
        stored yet; segment: counts the gaps before it (no line crosses a gap); finished: nothing more will
        come
chunk   task, run; first: the number of the line its first byte belongs to; part: how many bytes of that
        line lie in chunks before it, 0 for nearly all; lines: newlines in it; first_ts, last_ts: when its
        first and last line came; approx: these two bracket bytes that came while the spool went unwatched; times: when
        the lines between came (`chunks.pack_times`); size; body: up to 64 KB exactly as they left the
        terminal

Lines are numbered per task from 0 over all its runs, and never renumbered. Line n of a task begins in the
last chunk with (first, part) < (n, 1). A chunk continues a line only if its part is not 0; every other
chunk begins a line, even when the one before ends without a newline (a new run always begins a line).

Chunks and the spool position after them are stored in one transaction, so a byte of the spool is either in
a chunk or beyond the position, whatever is killed and when. A row per line would run at a third of the speed
and need more space; chunks are found by a covering index without touching bodies, even by time span.
"""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE task (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, first INTEGER NOT NULL DEFAULT 0,
        next INTEGER NOT NULL DEFAULT 0, part INTEGER NOT NULL DEFAULT 0, run INTEGER, segment INTEGER,
        bytes INTEGER NOT NULL DEFAULT 0, text_line INTEGER NOT NULL DEFAULT 0,
        text_size INTEGER NOT NULL DEFAULT 0, text_inode INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE run (
        id INTEGER PRIMARY KEY, task INTEGER NOT NULL, first INTEGER, next INTEGER,
        attach INTEGER NOT NULL DEFAULT 0, file INTEGER NOT NULL DEFAULT 0, offset INTEGER NOT NULL DEFAULT 0,
        segment INTEGER NOT NULL DEFAULT 0, finished INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX run_of_task ON run (task, id);
    CREATE INDEX run_not_finished ON run (task, id) WHERE finished = 0;
    CREATE TABLE chunk (
        id INTEGER PRIMARY KEY, task INTEGER NOT NULL, run INTEGER NOT NULL, first INTEGER NOT NULL,
        part INTEGER NOT NULL, lines INTEGER NOT NULL, first_ts REAL NOT NULL, last_ts REAL NOT NULL,
        approx INTEGER NOT NULL, size INTEGER NOT NULL, times BLOB, body BLOB NOT NULL
    );
    CREATE INDEX chunk_of_line ON chunk (task, first, part, first_ts, last_ts, size);
    """,
)
# Pages of 8 KB: a third faster than 4 KB for full chunks, and still cheap for a task that prints a line a
# second.
PRAGMAS = "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL;"
