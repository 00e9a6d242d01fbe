"""The queue's commands and options; see `verbs`."""

from __future__ import annotations

from paneview.cli.parser import Option, Verb

_BROKER = Option(
    "--broker",
    "URL",
    "the queue: sqlite:, redis://…, dir:///… (default: $PANEVIEW_BROKER, else [queue] in the file)",
)
_PAYLOAD = Option("--payload", "JSON", "what the handler gets; - reads it from standard input")
_TIMEOUT = Option("--timeout", "TIME", "how long an attempt may take: 90, 300s, 5m, 500ms")
_TIMEOUT_MS = Option(
    "--timeout", "MS", "how long an attempt may take, in milliseconds, or with a unit: 300000, 300s, 5m"
)
_PRIORITY = Option("--priority", "N", "-999 to 999, higher first (default 0)")
_DELAY = Option("--delay", "TIME", "wait this long first: 30s, 5m")
_KEY = Option("--key", "KEY", "idempotency: of jobs with the same key only the first is kept")
_META = Option("--meta", "K=V", "a note on the job; may be given more than once", repeats=True)
_ATTEMPTS = Option("--attempts", "N", "tries before it becomes a dead letter")
_ROLE = Option("--role", "ROLE", "only for this role")
_HOST = Option("--host", "HOST", "only for this host")
_LIMIT = Option("-n --limit", "N", "at most N (default 50)")
_ALL = Option("--all", None, "all of them")
_JOB = "1764870164_8434f43fab12"
_KINDS = "ping prompt shutdown"
_STATES = "queued delayed blocked running done dead cancelled pending in_progress completed failed"
_SEND = (_PAYLOAD, _TIMEOUT_MS, _PRIORITY, _DELAY, _KEY, _ATTEMPTS, _META, _BROKER)

QUEUE_VERBS = (
    Verb(
        "worker",
        "queue.worker:worker",
        "Take jobs from the queue until told to stop.",
        options=(
            Option(
                "--role", "ROLE", "what it can do; may be given more than once (default worker)", repeats=True
            ),
            Option("--concurrency", "N", "jobs at the same time (default 1)"),
            Option("--once", None, "do what waits now, at most --concurrency jobs, then end"),
            Option("--interval", "SECONDS", "look this often where the queue cannot wake it (default 1)"),
            Option(
                "--handlers", "MODULE", "a Python module with handlers for kinds of your own", repeats=True
            ),
            Option(
                "--command",
                "COMMAND",
                "the program that gets prompts on standard input (default 'claude -p')",
            ),
            Option(
                "--runner", "NAME", "the runner for phases of workflows (default: the role's in the file)"
            ),
            Option(
                "--allow",
                "FOLDER",
                "where jobs may ask to run (default: this one)",
                repeats=True,
                complete="file",
            ),
            Option("--grace", "SECONDS", "how long jobs may go on once it is told to stop (default 30)"),
            Option("--name", "NAME", "its name (default: its task's, else its pane's id)"),
            Option("--host", "HOST", "the host it takes jobs for (default: this one's name)"),
            Option("--respawn", "FILE", "start as noted in this file; `watchdog` uses it", hidden=True),
            _BROKER,
        ),
        example="paneview worker --role reviewer --role planner --concurrency 2",
    ),
    Verb(
        "dispatch",
        "queue.dispatch:dispatch",
        "Send a job to a pane, a task, role:R[@HOST], host:H or any.",
        words="TARGET KIND",
        least=2,
        most=2,
        options=_SEND,
        complete=_KINDS,
        example="""paneview dispatch role:reviewer prompt --payload '{"text": "review"}'""",
    ),
    Verb(
        "dispatch-role",
        "queue.dispatch:dispatch_role",
        "Send a job to every live worker of a role.",
        words="ROLE KIND",
        least=2,
        most=2,
        options=_SEND,
        complete=_KINDS,
        example="paneview dispatch-role reviewer ping",
    ),
    Verb(
        "broadcast",
        "queue.dispatch:broadcast",
        "Send a job to every live worker.",
        words="KIND",
        least=1,
        most=1,
        options=_SEND,
        complete=_KINDS,
        example="paneview broadcast ping",
    ),
    Verb(
        "submit",
        "queue.dispatch:submit",
        "Queue a prompt for whoever is free.",
        words="TEXT…",
        least=1,
        most=None,
        options=(
            _HOST,
            _ROLE,
            _META,
            Option("--wait", None, "wait for the result and print it"),
            Option("-d --working-dir", "FOLDER", "where to run; the worker must allow it", complete="file"),
            _TIMEOUT,
            _PRIORITY,
            _DELAY,
            _KEY,
            _ATTEMPTS,
            _BROKER,
        ),
        example="paneview submit --role reviewer --wait 'Is README.md up to date?'",
    ),
    Verb(
        "jobs",
        "queue.jobs:jobs",
        "Show jobs, the newest first.",
        options=(
            Option(
                "--state",
                "STATE",
                "only in this state; may be given more than once",
                repeats=True,
                complete=_STATES,
            ),
            _HOST,
            _ROLE,
            Option("--task", "NAME", "only for this task or pane", complete="task"),
            Option("--kind", "KIND", "only of this kind", complete=_KINDS),
            _LIMIT,
            _BROKER,
        ),
        example="paneview jobs --state dead",
    ),
    Verb(
        "job",
        "queue.jobs:job",
        "Show everything about a job.",
        words="ID",
        least=1,
        most=1,
        options=(_BROKER,),
        example=f"paneview job {_JOB}",
    ),
    Verb(
        "result",
        "queue.jobs:result",
        "Show what came of a job.",
        words="ID",
        least=1,
        most=1,
        options=(
            Option("--wait", None, "wait until it is over"),
            Option("--timeout", "TIME", "with --wait: for at most this long (default 60s)"),
            _BROKER,
        ),
        example=f"paneview result {_JOB} --wait --timeout 5m",
    ),
    Verb(
        "cancel",
        "queue.jobs:cancel",
        "Cancel jobs, waiting or running.",
        words="ID…",
        least=1,
        most=None,
        options=(Option("--reason", "TEXT", "why"), _BROKER),
        example=f"paneview cancel {_JOB}",
    ),
    Verb(
        "dlq",
        "queue.jobs:dead",
        "Dead letters: jobs given up after their last attempt.",
        options=(_LIMIT, _BROKER),
        subs=(
            Verb(
                "dlq list",
                "queue.jobs:dead",
                "Show dead letters (what 'dlq' alone does).",
                options=(_LIMIT, _BROKER),
                example="paneview dlq list",
            ),
            Verb(
                "dlq show",
                "queue.jobs:dead_shown",
                "Show all about dead letters.",
                words="ID…",
                least=1,
                most=None,
                options=(_BROKER,),
                example=f"paneview dlq show {_JOB}",
            ),
            Verb(
                "dlq retry",
                "queue.jobs:dead_retried",
                "Queue dead letters again.",
                words="[ID…]",
                most=None,
                options=(_ALL, _BROKER),
                example="paneview dlq retry --all",
            ),
            Verb(
                "dlq purge",
                "queue.jobs:dead_purged",
                "Delete dead letters.",
                words="[ID…]",
                most=None,
                options=(_ALL, _BROKER),
                example=f"paneview dlq purge {_JOB}",
            ),
        ),
        example="paneview dlq retry --all",
    ),
    Verb(
        "queue",
        "queue.jobs:lanes",
        "Show the jobs waiting per target; `clean` forgets old ones.",
        options=(_BROKER,),
        subs=(
            Verb(
                "queue clean",
                "queue.jobs:cleaned",
                "Forget jobs that ended long ago.",
                options=(Option("--older-than", "TIME", "longer ago than this (default 7d)"), _BROKER),
                example="paneview queue clean --older-than 7d",
            ),
        ),
        example="paneview queue",
    ),
    Verb(
        "workers",
        "queue.workers:workers",
        "Show the workers, and what each works on.",
        aliases=("panes",),
        options=(_ROLE, _HOST, Option("-a --all", None, "also those that have left"), _BROKER),
        example="paneview workers --role reviewer",
    ),
    Verb(
        "hosts",
        "queue.workers:hosts",
        "Show the hosts that have workers.",
        options=(_BROKER,),
        example="paneview hosts",
    ),
    Verb(
        "unquarantine",
        "queue.workers:unquarantine",
        "Let workers that died too often start again.",
        words="NAME…",
        least=1,
        most=None,
        options=(_BROKER,),
        complete="task",
        example="paneview unquarantine reviewer.1",
    ),
    Verb(
        "runner",
        "queue.runner:listed",
        "Show the agent runners and which are paused, or let one go on.",
        options=(_BROKER,),
        subs=(
            Verb(
                "runner list",
                "queue.runner:listed",
                "Show the agent runners (what 'runner' alone does).",
                options=(_BROKER,),
                example="paneview runner list",
            ),
            Verb(
                "runner resume",
                "queue.runner:resumed",
                "Let paused runners go on.",
                words="NAME…",
                least=1,
                most=None,
                options=(_BROKER,),
                example="paneview runner resume claude",
            ),
        ),
        example="paneview runner resume claude",
    ),
    Verb(
        "watchdog",
        "queue.watchdog:watchdog",
        "Restart workers that died in a pane, and requeue their jobs.",
        options=(
            Option(
                "--check-interval", "SECONDS", "between two looks (default 30); a death is noticed at once"
            ),
            _BROKER,
        ),
        example="paneview watchdog",
    ),
    Verb(
        "service",
        "service:service",
        "Print a systemd unit for a worker or the supervisor.",
        words="worker | supervisor",
        least=1,
        most=1,
        options=(
            Option("--role", "ROLE", "of the worker; may be given more than once", repeats=True),
            Option("--concurrency", "N", "of the worker"),
            Option("--interval", "SECONDS", "of the worker: look this often where the queue cannot wake it"),
            Option("--user", "NAME", "run as this user (default: you)"),
            _BROKER,
        ),
        complete="worker supervisor",
        example="paneview service worker --role reviewer > paneview-worker.service",
    ),
)
