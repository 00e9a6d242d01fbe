"""What a valid file becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import to_builtins

from paneview.config.load import load_project
from paneview.config.models import Dependency
from paneview.config.resolve import HOOK_COMMANDS
from tests.config.support import lines, load, write

# Field, type in the file and default, as taskmux 0.4 documents them.
TASKMUX_DEFAULTS = {
    "auto_start": True,
    "port": None,
    "health_check": None,
    "health_interval": 10,
    "health_timeout": 5,
    "health_retries": 3,
    "stop_grace_period": 5,
    "restart_policy": "on-failure",
    "max_restarts": 5,
    "restart_backoff": 2.0,
    "log_file": None,
    "log_max_size": 10 * 2**20,
    "log_max_files": 3,
    "depends_on": (),
}


def test_defaults_are_those_of_taskmux(tmp_path: Path) -> None:
    task = load(tmp_path, '[tasks.web]\ncommand = "x"').tasks["web"]
    assert {name: getattr(task, name) for name in TASKMUX_DEFAULTS} == TASKMUX_DEFAULTS
    assert task.cwd == tmp_path
    assert {name: getattr(task.hooks, name) for name in HOOK_COMMANDS} == dict.fromkeys(
        ("before_start", "after_start", "before_stop", "after_stop")
    )


def test_full_taskmux_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "apps" / "api").mkdir(parents=True)
    file = write(
        tmp_path,
        """
        name = "fullstack-app"
        auto_start = false
        [hooks]
        before_start = "echo starting"
        [tasks]
        web = "npm run dev"
        [tasks.db]
        command = "docker compose up postgres redis"
        health_check = "pg_isready -h localhost -p 5432"
        health_interval = 3
        [tasks.api]
        command = "python manage.py runserver 0.0.0.0:8000"
        cwd = "apps/api"
        port = 8000
        depends_on = ["db"]
        health_check = "curl -sf http://localhost:8000/health"
        health_timeout = 2.5
        health_retries = 1
        stop_grace_period = 10
        restart_policy = "always"
        max_restarts = 10
        restart_backoff = 3.0
        log_file = "logs/api.log"
        log_max_size = "1MB"
        log_max_files = 7
        [tasks.api.hooks]
        after_stop = "echo api stopped"
        """,
        "taskmux.toml",
    )
    project = load_project(file, {})
    api = project.tasks["api"]
    assert (project.name, project.auto_start, project.hooks.before_start) == (
        "fullstack-app",
        False,
        "echo starting",
    )
    assert list(project.tasks) == ["web", "db", "api"]
    assert project.tasks["web"].command == "npm run dev"
    assert (api.cwd, api.checks_cwd, api.log_file) == (
        tmp_path / "apps/api",
        tmp_path,
        tmp_path / "logs/api.log",
    )
    assert api.depends_on == (Dependency(task="db", condition="healthy"),)
    assert (api.log_max_size, api.restart_policy, api.hooks.after_stop) == (
        2**20,
        "always",
        "echo api stopped",
    )


@pytest.mark.parametrize(
    ("file", "folder", "name"),
    [
        ("taskmux.toml", "shop", "taskmux"),
        ("paneview.toml", "shop", "shop"),
        ("paneview.toml", "my.shop: v2", "my-shop-v2"),
        ("paneview.toml", "…", "paneview"),
    ],
)
def test_name_without_a_name(tmp_path: Path, file: str, folder: str, name: str) -> None:
    place = tmp_path / folder
    place.mkdir()
    assert load_project(write(place, "", file), {}).name == name


def test_every_field_of_a_task(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOKEN=s3cret\n")
    project = load(
        tmp_path,
        """
        [tasks.prepare]
        command = "make"
        restart_policy = "no"
        [tasks.web]
        command = "serve"
        description = "The web server"
        group = "front"
        env = { PORT = "8000" }
        env_file = ".env"
        depends_on = [{ task = "prepare", condition = "completed" }]
        health_url = "http://localhost:${PORT}/"
        health_status = [200, "300-302"]
        health_body = "ok$"
        ready_timeout = 30
        stop_signal = "SIGQUIT"
        log_max_age = "7d"
        log_max_size = 4096
        schedule = "*/5 * * * *"
        hooks = { before_start = "true", timeout = 5 }
        """,
    )
    web = project.tasks["web"]
    assert web.env == {"TOKEN": "s3cret", "PORT": "8000"}
    assert web.env_file == tmp_path / ".env"
    assert web.health_url == "http://localhost:8000/"
    assert web.health_status == ((200, 200), (300, 302))
    assert (web.log_max_age, web.log_max_size, web.hooks.timeout) == (7 * 86400.0, 4096, 5.0)
    assert web.depends_on == (Dependency(task="prepare", condition="completed"),)
    assert project.secret_values == {"s3cret"}


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("5432", "localhost:5432"),
        ('"5432"', "localhost:5432"),
        ('":5432"', "localhost:5432"),
        ('"db.lan:5432"', "db.lan:5432"),
        ('"[::1]:5432"', "[::1]:5432"),
    ],
)
def test_health_tcp(tmp_path: Path, given: str, address: str) -> None:
    task = load(tmp_path, f'[tasks.db]\ncommand = "x"\nhealth_tcp = {given}').tasks["db"]
    assert task.health_tcp == address


def test_replicas(tmp_path: Path) -> None:
    text = """
        [tasks.web]
        command = "serve $PANEVIEW_REPLICA"
        replicas = 2
        health_url = "http://localhost:800${PANEVIEW_REPLICA}/"
        log_file = "web-${PANEVIEW_REPLICA}.log"
        [tasks.proxy]
        command = "proxy"
        depends_on = ["web"]
        """
    project = load(tmp_path, text)
    assert list(project.tasks) == ["web.1", "web.2", "proxy"]
    second = project.tasks["web.2"]
    assert (second.base_name, second.replica, second.env) == ("web", 2, {"PANEVIEW_REPLICA": "2"})
    assert second.health_url == "http://localhost:8002/"
    assert [dependency.task for dependency in project.tasks["proxy"].depends_on] == ["web.1", "web.2"]
    scaled = load(tmp_path, text, replicas={"web": 3})
    assert list(scaled.tasks) == ["web.1", "web.2", "web.3", "proxy"]
    assert list(load(tmp_path, text, replicas={"proxy": 1}).tasks) == ["web.1", "web.2", "proxy.1"]


def test_symlink_keeps_the_folder_it_stands_in(tmp_path: Path) -> None:
    real = tmp_path / "dotfiles"
    here = tmp_path / "project"
    (here / "src").mkdir(parents=True)
    real.mkdir()
    write(real, '[tasks.web]\ncommand = "x"\ncwd = "src"')
    (here / "paneview.toml").symlink_to(real / "paneview.toml")
    project = load_project(here / "paneview.toml", {})
    assert project.file == here / "paneview.toml"
    assert project.tasks["web"].cwd == here / "src"


def test_settings(tmp_path: Path) -> None:
    project = load(
        tmp_path,
        """
        [tmux]
        socket = "${SOCKET:-other}"
        [websocket]
        port = 9000
        [secrets]
        patterns = ["*PIN*"]
        """,
    )
    assert project.tmux.socket == "other"
    assert project.websocket is not None
    assert (project.websocket.host, project.websocket.port) == ("127.0.0.1", 9000)
    assert project.secret_patterns == ("*PIN*",)
    assert load(tmp_path, "").websocket is None


CHANGES_THE_PROCESS = ['command = "y"', 'command = "x"\ncwd = "sub"', 'command = "x"\nenv = { A = "1" }']
CHANGES_NO_PROCESS = [
    '# a comment\ncommand = "x"',
    'command = "x"\ndescription = "new"',
    'command = "x"\nmax_restarts = 9\nrestart_policy = "always"',
    'command = "x"\nhealth_tcp = 80\nport = 80',
    'command = "x"\ndepends_on = ["other"]',
    'command = "x"\nhooks.before_start = "true"',
]


@pytest.mark.parametrize(
    ("body", "restarts"),
    [(body, True) for body in CHANGES_THE_PROCESS] + [(body, False) for body in CHANGES_NO_PROCESS],
)
def test_which_changes_of_a_definition_restart_the_task(tmp_path: Path, body: str, restarts: bool) -> None:
    (tmp_path / "sub").mkdir()
    other = '[tasks.other]\ncommand = "o"\n'
    before = load(tmp_path, other + '[tasks.web]\ncommand = "x"').tasks["web"].definition_key()
    after = load(tmp_path, other + f"[tasks.web]\n{body}").tasks["web"].definition_key()
    assert (before != after) is restarts


def test_a_nul_in_a_text_anywhere(tmp_path: Path) -> None:
    """No file can be called so, and no process can be given it."""
    text = """\
[tasks.web]
command = "x\\u0000"
env_file = "a\\u0000"
env.A = "b\\u0000"
[queue]
broker = "sqlite:///a\\u0000b"
[runners.x]
argv = ["y", "a\\u0000"]
[[workflows.w.phases]]
name = "p"
role = "implementer"
prompt = "x"
verify = "true\\u0000"
"""
    found = [
        line.split(": ", 1)[0] for line in lines(tmp_path, text) if line.endswith("holds a NUL character")
    ]
    assert found == ["2:11", "3:12", "4:9", "6:10", "8:14", "13:10"]
    assert lines(tmp_path, '[queue]\nbroker = "dir:///a%00b"\n') == [
        "2:10: broker: the path holds a NUL character"
    ]
    assert load(tmp_path, '[tasks.web]\ncommand = "x \\\\x00"').tasks["web"].command == "x \\x00"


def test_definition_key_sees_the_content_of_env_file(tmp_path: Path) -> None:
    text = '[tasks.web]\ncommand = "x"\nenv_file = ".env"'
    (tmp_path / ".env").write_text("A=1")
    before = load(tmp_path, text).tasks["web"].definition_key()
    (tmp_path / ".env").write_text("A=2")
    assert load(tmp_path, text).tasks["web"].definition_key() != before


WRITTEN = """
env = { PATH = "${PATH}:bin" }
[tasks.web]
command = "x"
cwd = "${SUB:-.}"
env_file = ".env"
[workers.w]
role = "worker"
command = ["cat"]
"""


@pytest.mark.parametrize(
    ("was", "now", "differs"),
    [
        ("", "", False),
        ('command = "x"', '# a comment\ncommand = "x"\ndescription = "new"', False),
        ('command = "x"', 'command = "y"', True),
        ("}:bin", "}:lib", True),
        ("${SUB:-.}", "${SUB:-sub}", True),
    ],
)
def test_written_is_what_the_file_says_and_not_what_the_environment_makes_of_it(
    tmp_path: Path, was: str, now: str, differs: bool
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".env").write_text("A=${HOME}")
    here, there = {"PATH": "/bin", "HOME": "/a"}, {"PATH": "/usr/bin", "HOME": "/b", "SUB": "sub"}
    before = load(tmp_path, WRITTEN, here).tasks
    after = load(tmp_path, WRITTEN.replace(was, now, 1), there).tasks
    assert before["web"].definition_key() != after["web"].definition_key()
    assert (before["web"].written != after["web"].written) is differs
    assert (before["w"].written != after["w"].written) is ("lib" in now)


def test_written_sees_the_content_of_env_file(tmp_path: Path) -> None:
    environ = {"PATH": "/bin", "HOME": "/a"}
    (tmp_path / ".env").write_text("A=1")
    before = load(tmp_path, WRITTEN, environ).tasks["web"].written
    (tmp_path / ".env").write_text("A=2")
    assert load(tmp_path, WRITTEN, environ).tasks["web"].written != before


def test_models_are_frozen(tmp_path: Path) -> None:
    project = load(tmp_path, '[tasks.web]\ncommand = "x"')
    with pytest.raises(AttributeError, match="immutable"):
        project.tasks["web"].command = "y"  # type: ignore[misc]
    assert project == load(tmp_path, '[tasks.web]\ncommand = "x"')
    assert to_builtins(project.tasks["web"], enc_hook=str)["command"] == "x"
