"""The shell around the rules: turns what happens into the rules' events, and carries out what the rules decide.

One event loop, which nothing here blocks: SQLite, probes, `/proc` passes and files are reached through the packages
below, each with its own thread or process where it needs one; what waits for the queue or reads logs has its own here.

From the top, each importing only from below: `serve`, the process, and `host`, which wires everything up; `clients`,
who ask and are shown the tasks; `changes` of the project's file, the `takeover` from an earlier supervisor, and the
`queue` of jobs; the `tasks`; their `runs`; their `logs`; then the `journal`, the `terminal` (tmux) and other ground.
"""
