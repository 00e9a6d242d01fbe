"""Every command and option there is. Plain data: help, completion and parsing are made from it."""

from __future__ import annotations

from paneview.cli.parser import Option, Parser, Verb

SHARED = (
    Option("--json", None, "print JSON, errors too"),
    Option(
        "-c --file",
        "FILE",
        "the configuration file (default: $PANEVIEW_FILE, else in this folder or above)",
        complete="file",
    ),
    Option("-h --help", None, "show this help"),
    Option("-V --version", None, "show the version"),
)

_SINCE = Option(
    "--since", "WHEN", "since 30s, 5m, 2h or 1d ago, or since a time such as 2024-01-01T14:00 (UTC)"
)
_UNTIL = Option("--until", "WHEN", "until then, in the same forms")
_FOLLOW = Option("-f --follow", None, "keep showing what comes, until Ctrl-C")
_NO_DEPS = Option("--no-deps", None, "do not start what the named tasks depend on")

OPEN = Verb(
    "paneview",
    "launch:open_screen",
    "Everything a project runs, on one screen, each process in its own tmux pane.",
    words="[FILE]",
    most=1,
    options=(
        Option("--serve", None, "run the supervisor in the foreground, with no screen"),
        Option("--env-from", "FILE", "environment for --serve, as handed over by `start`", hidden=True),
        Option("--report", "FILE", "where --serve says how its start went", hidden=True),
        Option("--idle", None, "with --serve: start no task by itself", hidden=True),
    ),
    complete="file",
    example="paneview sample.toml",
)

VERBS = (
    Verb(
        "start",
        "lifecycle:start",
        "Start tasks (default: all with auto_start) and the supervisor.",
        words="[NAME…]",
        most=None,
        options=(
            _NO_DEPS,
            Option("--wait", None, "return once all of it is ready; exit status 1 if a task fails"),
            Option("-m --monitor", None, "stay and show events until Ctrl-C, which leaves the tasks running"),
        ),
        complete="task",
        example="paneview start api web",
    ),
    Verb(
        "stop",
        "lifecycle:stop",
        "Stop tasks (default: all) and keep them stopped.",
        words="[NAME…]",
        most=None,
        complete="task",
        example="paneview stop api",
    ),
    Verb(
        "restart",
        "lifecycle:restart",
        "Stop and start tasks again (default: all that run).",
        words="[NAME…]",
        most=None,
        complete="task",
        example="paneview restart api",
    ),
    Verb(
        "kill",
        "lifecycle:kill",
        "End tasks at once with SIGKILL and keep them stopped.",
        words="NAME…",
        least=1,
        most=None,
        complete="task",
        example="paneview kill api",
    ),
    Verb(
        "down",
        "lifecycle:down",
        "Stop everything: tasks, supervisor, tmux session.",
        example="paneview down",
    ),
    Verb(
        "scale",
        "lifecycle:scale",
        "Run this many replicas of a task.",
        words="NAME N",
        least=2,
        most=2,
        complete="task",
        example="paneview scale worker 4",
    ),
    Verb(
        "status",
        "info:status",
        "Show every task and its state.",
        aliases=("ls", "list"),
        example="paneview status --json",
    ),
    Verb("health", "info:health", "Show which tasks are healthy.", example="paneview health"),
    Verb(
        "inspect",
        "info:inspect",
        "Show everything about a task.",
        words="NAME",
        least=1,
        most=1,
        complete="task",
        example="paneview inspect api --json",
    ),
    Verb(
        "events",
        "events:events",
        "Show what happened, oldest first (times are UTC).",
        options=(
            Option("--task", "NAME", "only this task's", complete="task"),
            Option(
                "--kind",
                "KIND",
                "only of this kind; may be given more than once",
                repeats=True,
                complete="event",
            ),
            _SINCE,
            _UNTIL,
            Option("-n --count --limit --lines", "N", "at most the last N (default 100)"),
            _FOLLOW,
            Option("--queue", None, "the queue's events instead: jobs and workers, on every host"),
        ),
        example="paneview events --task api --since 1h",
    ),
    Verb(
        "watch",
        "events:watch",
        "Show how changes to the file take effect, until Ctrl-C.",
        example="paneview watch",
    ),
    Verb(
        "logs",
        "logs:logs",
        "Show the output of tasks (default: all), by time (UTC).",
        words="[NAME…]",
        most=None,
        options=(
            _FOLLOW,
            Option("-n --lines", "N", "the last N lines or matches (default 100; all with --since or -g)"),
            Option(
                "-g --grep",
                "PATTERN",
                "only lines that contain PATTERN; in either case if it has no capitals",
            ),
            Option("--regex", None, "PATTERN is a regular expression"),
            Option("-i --ignore-case", None, "in either case, whatever PATTERN has"),
            Option("-C --context", "N", "also N lines before and after each match"),
            Option("-B --before", "N", "also N lines before each match"),
            Option("-A --after", "N", "also N lines after each match"),
            _SINCE,
            _UNTIL,
        ),
        complete="task",
        example="paneview logs api -g error -C 3",
    ),
    Verb(
        "logs-clean",
        "logs:logs_clean",
        "Delete the stored output of tasks (default: all).",
        words="[NAME…]",
        most=None,
        complete="task",
        example="paneview logs-clean api",
    ),
    Verb(
        "export",
        "export:export",
        "Write the events and output of a span of time.",
        options=(
            _SINCE,
            _UNTIL,
            Option("--format", "FORMAT", "jsonl (default) or text", complete="jsonl text"),
            Option("-o --output", "FILE", "write there instead of to standard output", complete="file"),
        ),
        example="paneview export --since 1h -o review.jsonl",
    ),
    Verb(
        "attach",
        "attach:attach",
        "Go into a task's tmux window (Ctrl-b d leaves it).",
        options=(Option("--back", None, "Ctrl-] leaves it, too, and returns to where this was called"),),
        words="NAME",
        least=1,
        most=1,
        complete="task",
        example="paneview attach api",
    ),
    Verb(
        "init",
        "init:init",
        "Write a paneview.toml for the project; tell AI agents of it.",
        options=(Option("--defaults", None, "ask nothing, take what is suggested"),),
        example="paneview init",
    ),
    Verb(
        "check",
        "edit:check",
        "Check the configuration file and list every mistake.",
        words="[FILE]",
        most=1,
        complete="file",
        example="paneview check",
    ),
    Verb(
        "schema",
        "edit:schema",
        "Print the JSON Schema of the file, or of a command's output.",
        options=(
            Option(
                "--output", "COMMAND", "the schema of what this command prints with --json", complete="verb"
            ),
        ),
        example="paneview schema > paneview.schema.json",
    ),
    Verb(
        "add",
        "edit:add",
        "Add a task to the file; the rest of it stays as it is.",
        words="NAME COMMAND",
        least=2,
        most=2,
        options=(
            Option("--cwd", "FOLDER", "folder to run in, relative to the file's", complete="file"),
            Option(
                "--depends-on",
                "NAME",
                "wait for this task; may be given more than once",
                repeats=True,
                complete="task",
            ),
            Option("--health-check", "COMMAND", "shell command that exits with 0 when the task is healthy"),
            Option("--health-url", "URL", "address that answers when the task is healthy"),
            Option("--port", "PORT", "port it listens on"),
            Option("--restart-policy", "POLICY", "no, on-failure or always", complete="no on-failure always"),
            Option("--description", "TEXT", "what the task is for"),
            Option("--no-auto-start", None, "start it only by hand"),
        ),
        example="paneview add web 'python3 -m http.server 8000' --port 8000",
    ),
    Verb(
        "remove",
        "edit:remove",
        "Remove a task from the file; if it runs, it is stopped.",
        words="NAME",
        least=1,
        most=1,
        complete="task",
        example="paneview remove web",
    ),
    Verb(
        "reload",
        "lifecycle:reload",
        "Apply the changed configuration file now.",
        example="paneview reload",
    ),
    Verb(
        "daemon",
        "launch:daemon",
        "Run a supervisor in the background, without starting tasks.",
        options=(
            Option(
                "--port", "PORT", "also serve the WebSocket API on this port, until the project is taken down"
            ),
        ),
        example="paneview daemon --port 8765",
    ),
    Verb(
        "completion",
        "completion:completion",
        "Print the completion script for bash, zsh or fish.",
        words="SHELL",
        least=1,
        most=1,
        complete="bash zsh fish",
        example='eval "$(paneview completion bash)"',
    ),
    Verb("__complete", "completion:candidates", "", words="[WORD…]", most=None, hidden=True),
)

# The queue's commands are in a table of their own, which `status` has no time to load.
QUEUE = (
    "worker", "dispatch", "dispatch-role", "broadcast", "submit", "jobs", "job", "result", "cancel", "dlq", "queue",
    "workers", "panes", "hosts", "unquarantine", "runner", "watchdog", "service",
)  # fmt: skip


WORKFLOW = ("ask", "workflow", "workflows", "workflow-status", "workflow-setup", "workflow-teardown")


def _later_verbs() -> tuple[Verb, ...]:
    from paneview.cli.queue.verbs import QUEUE_VERBS  # noqa: PLC0415 - half of the table, which `status` need not read
    from paneview.cli.workflow.verbs import WORKFLOW_VERBS  # noqa: PLC0415 - as above

    return (*QUEUE_VERBS, *WORKFLOW_VERBS)


PARSER = Parser(VERBS, SHARED, OPEN, (*QUEUE, *WORKFLOW), _later_verbs)
