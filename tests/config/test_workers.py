from __future__ import annotations

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from msgspec import ValidationError, convert, structs

from paneview.config.errors import ConfigError
from paneview.config.models import QueueTable, WorkerSpec
from paneview.config.queue import QueueSettings, find_queue, read_dotenv, resolve
from tests.config.support import lines, load


def test_a_worker_is_a_task(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    project = load(
        tmp_path,
        """
        [tasks.db]
        command = "x"
        [workers.w]
        role = ["a", "b-${PANEVIEW_REPLICA}"]
        replicas = 2
        concurrency = 3
        command = ["my agent", "-p", "it's ${MODEL}"]
        handlers = ["mine"]
        allow = ["src"]
        cwd = "src"
        depends_on = ["db"]
        env = { MODEL = "big" }
        [workers.single]
        """,
    )
    assert list(project.tasks) == ["db", "w.1", "w.2", "single"]
    worker = project.tasks["w.2"]
    argv = shlex.split(worker.command)
    assert argv[3:13] == [
        "paneview",
        "worker",
        "--role",
        "a",
        "--role",
        "b-2",
        "--concurrency",
        "3",
        "--command",
        argv[12],
    ]
    assert shlex.split(argv[12]) == ["my agent", "-p", "it's big"]
    assert argv[13:] == ["--handlers", "mine", "--allow", str(tmp_path / "src"), "--file", str(project.file)]
    assert worker.cwd == tmp_path / "src"
    assert worker.worker == WorkerSpec(roles=("a", "b-2"), respawn_limit=5, respawn_window=300.0)
    assert [need.task for need in worker.depends_on] == ["db"]
    assert worker.env == {"PANEVIEW_BROKER": "sqlite:", "MODEL": "big", "PANEVIEW_REPLICA": "2"}
    assert project.tasks["db"].worker is None
    assert "'claude -p'" in project.tasks["single"].command
    assert project.has_queue


def test_mistakes_are_told_where_they_stand(tmp_path: Path) -> None:
    text = """\
    [queue]
    broker = "reddis://localhost"
    lease = "long"
    [tasks.x]
    command = "x"
    [workers.x]
    [workers.y]
    role = "a b"
    rolls = 3
    allow = ["nowhere"]
    depends_on = ["z"]
    [workers.z]
    command = "claude -p 'in one sentence'"
    env = { A = "${NOT_SET}" }
    """
    found = lines(tmp_path, text)
    assert [line.partition(":")[0] for line in found] == ["2", "3", "6", "8", "9", "10", "13", "14"]
    for line, words in zip(
        found,
        (
            "broker 'reddis' is not one of sqlite, redis",
            "must be a number",
            "'x' is already the name of a task",
            "worker 'y': role 'a b'",
            "did you mean 'role'?",
            "is not a folder",
            'write ["claude", "-p", "in one sentence"]',
            "worker 'z'",
        ),
        strict=True,
    ):
        assert words in line, line


def test_a_role_that_is_too_long_for_a_shared_folder(tmp_path: Path) -> None:
    text = 'broker = "{}"\nhost = "pi"\n[workers.w]\nrole = ["ok", "' + "検査" * 20 + '"]\n'
    (told,) = lines(tmp_path, "[queue]\n" + text.format("dir:///x"))
    assert told.startswith("5:8: worker 'w': role '検査検査"), told
    assert "on 'pi' is too long for a shared folder" in told
    assert load(tmp_path, "[queue]\n" + text.format("redis://x")).tasks["w"].worker


def test_a_broker_from_the_environment_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PANEBUS_BROKER=rabbit://h\n")
    (told,) = lines(tmp_path, '[queue]\nlease = 5\nbroker = "sqlite:"\n')
    assert told.startswith("1:1: PANEBUS_BROKER in .env: broker 'rabbit' is not one of sqlite")
    (tmp_path / ".env").write_text("PANEVIEW_BROKER=redis://:p[w@h\n")
    (told,) = lines(tmp_path, "[queue]\nlease = 5\n")
    assert told.startswith("1:1: PANEVIEW_BROKER in .env: broker is not a URL: redis://…")


def test_a_password_is_a_secret(tmp_path: Path) -> None:
    project = load(tmp_path, '[queue]\nbroker = "redis://u:p%40ss@h/0"\n')
    assert {"p%40ss", "p@ss"} <= project.secret_values


def test_the_precedence_of_settings() -> None:
    table = {"heartbeat_ttl": 4, "lease": 4, "max_attempts": 4, "broker": "dir:///file"}
    dotenv = {"PANEVIEW_HEARTBEAT_TTL": "3", "PANEBUS_HEARTBEAT_INTERVAL": "3", "PANEVIEW_LEASE": "3"}
    environ = {"PANEBUS_HEARTBEAT_TTL": "2", "PANEVIEW_RESPAWN_LIMIT": "2", "PANEBUS_RESPAWN_LIMIT": "9"}
    found = resolve({"lease": 1, "broker": None}, environ, dotenv, table)
    assert found == QueueSettings(
        broker="dir:///file",
        heartbeat_interval=3.0,
        heartbeat_ttl=2.0,
        lease=1.0,
        max_attempts=4,
        respawn_limit=2,
    )
    assert resolve({}, {}, {}, {}) == QueueSettings(
        "sqlite:", "", 10.0, 60.0, 300.0, 60.0, 3, 100, 5, 300.0, "INFO"
    )
    assert resolve({}, {"PANEBUS_REDIS_URL": "redis://x"}, {}, table).broker == "redis://x"
    assert (
        resolve({}, {"PANEBUS_COMMAND_TIMEOUT": "7", "PANEVIEW_LOG_LEVEL": "debug"}, {}, {}).log_level
        == "DEBUG"
    )


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({}, {"PANEVIEW_HEARTBEAT_TTL": "soon", "PANEBUS_MAX_QUEUE_DEPTH": "-1"}, {}, {})
    assert str(caught.value).splitlines() == [
        "PANEVIEW_HEARTBEAT_TTL must be a number of seconds from 0.05, not 'soon'",
        "PANEBUS_MAX_QUEUE_DEPTH must be a whole number from 0, not '-1'",
    ]


def test_a_number_that_the_file_may_hold_is_one_that_the_environment_may_hold() -> None:
    def fits(read: Callable[[], object]) -> bool:
        try:
            read()
        except (ConfigError, ValidationError):
            return False
        return True

    numbers = (-1, 0, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 1, 10**9, 2 * 10**9)
    settings = [
        (name, value) for name, value in QueueSettings()._asdict().items() if not isinstance(value, str)
    ]
    for name, default in settings:
        for value in numbers:
            if not isinstance(value, type(default)) and value % 1:
                continue
            by_file = fits(partial(convert, {name: value}, QueueTable))
            by_environment = fits(partial(resolve, {name: str(value)}, {}, {}, {}))
            assert by_file == by_environment, (name, value)
    assert {**QueueSettings()._asdict(), "host": None} == structs.asdict(QueueTable())


def test_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_dotenv(tmp_path, {}) == {}
    (tmp_path / ".env").write_text("OTHER=1\nPANEBUS_HEARTBEAT_TTL=9\n")
    assert read_dotenv(tmp_path, {}) == {"PANEBUS_HEARTBEAT_TTL": "9"}
    (tmp_path / "paneview.toml").write_text('name = "x"\n[queue]\nheartbeat_interval = 2\n')
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    place = find_queue({})
    assert (place.settings.heartbeat_ttl, place.settings.heartbeat_interval) == (9.0, 2.0)
    assert place.folder.name.startswith("x-")
    (tmp_path / ".env").write_text("this is no = assignment'\n")
    assert read_dotenv(tmp_path, {}) == {}


def test_whoever_only_looks_leaves_no_folder(tmp_path: Path, home: Path) -> None:
    file = tmp_path / "paneview.toml"
    file.write_text('name = "x"\n')
    place = find_queue({}, str(file))
    assert (place.in_use, place.folder.parent, home.exists()) == (False, home, False)
    file.write_text('name = "x"\n[queue]\n')
    assert find_queue({}, str(file)).folder == place.folder
    assert oct(place.folder.stat().st_mode & 0o777) == "0o700"


def test_without_a_project_the_queue_is_the_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    place = find_queue({"broker": "redis://x"})
    assert (place.file, place.folder, place.settings.broker) == (None, home, "redis://x")
