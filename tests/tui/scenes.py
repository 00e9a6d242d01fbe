"""Recorded projects for the tests and pictures of the screen."""

from __future__ import annotations

from tests.tui.scripted import NOW, Supervisor, event, task

METHODS = ("\x1b[32mGET\x1b[0m ", "\x1b[33mPOST\x1b[0m", "\x1b[35mPUT\x1b[0m ")


def access_log(count: int) -> list[str]:
    """Lines of a coloured access log, one in fifty of them an error."""
    lines = []
    for number in range(count):
        status = "\x1b[31;1m500\x1b[0m" if number % 50 == 49 else "\x1b[36m200\x1b[0m"
        took = number * 7 % 90
        lines.append(f"{METHODS[number % 3]} /api/items/{number} {status} \x1b[2m{took} ms\x1b[0m")
    return lines


def shop() -> Supervisor:
    """A project with a task in nearly every state."""
    tasks = [
        task("prepare", "done", exit_code=0, started_at=NOW - 760, ended_at=NOW - 758, description="Build the assets"),
        task("db", health="healthy", port=5432, command="postgres -D data", cpu_percent=0.4, rss_bytes=210 << 20),
        task("api", health="healthy", depends_on=["db", "prepare"], port=8000, cpu_percent=12.8, rss_bytes=96 << 20,
             processes=5, command="uvicorn shop:app --port 8000", description="The HTTP interface"),
        task("web", health="unhealthy", ready=False, depends_on=["api"], restarts=2, port=3000, cpu_percent=101.2,
             rss_bytes=1300 << 20, reason="health check failed 3 of 3: connection refused on port 3000"),
        task("worker", "backoff", exit_code=1, restarts=3, next_start_at=NOW + 4, depends_on=["db"],
             cause="exit code 1", reason="exit code 1; restart 3 of 5 in 4.0 s"),
        task("mailer", "waiting", depends_on=["web"], cause="", reason="waits for web: its health check failed 3 of 3",
             waits_for=[{"task": "web", "why": "is not ready (connection refused on port 3000)"}]),
        task("importer", "failed", exit_code=None, signal=9, restarts=5, max_restarts=5, reason="gave up after 5 restarts"),  # noqa: E501
        task("shell", "idle", auto_start=False, description="A Python prompt, started by hand"),
        task("日本語-名前", "stopped", manual_stop=True, exit_code=130, reason="stopped by hand"),
    ]  # fmt: skip
    events = [
        event(1, "supervisor_started"),
        event(2, "task_started", "db", run=1, detail={"pid": 4100}),
        event(3, "task_healthy", "db"),
        event(4, "task_started", "api", run=2, detail={"pid": 4200}),
        event(5, "task_exited", "worker", run=3, detail={"exit_code": 1}),
        event(
            6, "restart_scheduled", "worker", detail={"delay": 4.0, "restarts": 3}, cause="policy on-failure"
        ),
        event(7, "task_unhealthy", "web", detail={"error": "connection refused"}),
        event(8, "task_exited", "importer", run=9, detail={"exit_code": None, "signal": 9}),
        event(9, "max_restarts_reached", "importer", detail={"restarts": 5}),
        event(10, "task_stopped", "日本語-名前", actor="user:ann", detail={"exit_code": 130}),
    ]
    logs = {
        "api": access_log(400),
        "web": [f"\x1b[31mweb: connect [b]refused[/b] {n} 日本\x1b[0m" for n in range(60)],
    }
    logs["importer"] = [f"row {number} imported" for number in range(40)]
    return Supervisor(tasks, logs=logs, events=events)


def one() -> Supervisor:
    return Supervisor([task("web", health="healthy", port=8000)], logs={"web": ["listening on port 8000"]})


def hundreds() -> Supervisor:
    states = ["running", "running", "running", "failed", "waiting", "done", "stopped"]
    return Supervisor(
        [task(f"service-{n:03}", states[n * 7 % 11 % 7], group=f"group {n % 4}") for n in range(200)]
    )


def gone() -> Supervisor:
    supervisor = shop()
    supervisor.leaves_at_once = True
    return supervisor
