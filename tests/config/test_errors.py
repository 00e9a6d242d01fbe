"""The mistakes reported for a wrong file: all at once, each with its place and the nearest valid word."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from paneview.config.editing.edit import task_text
from paneview.config.errors import ConfigError, Problem
from paneview.config.load import load_project, parse_project
from paneview.config.reading import LARGEST
from tests.config.support import lines, problems, write
from tests.texts import texts

TASK = '[tasks.web]\ncommand = "x"\n'

# One wrong line after the two of TASK, and what is reported.
WRONG_LINES = [
    ('comand = "y"', "3:1: unknown key 'comand' in task 'web' (did you mean 'command'?)"),
    ('environment = "y"', "3:1: unknown key 'environment' in task 'web' (did you mean 'env'?)"),
    ('dependsOn = ["y"]', "3:1: unknown key 'dependsOn' in task 'web' (did you mean 'depends_on'?)"),
    ('zzz = "y"', "3:1: unknown key 'zzz' in task 'web' ('paneview schema' describes all keys)"),
    (
        'hooks.after_halt = "y"',
        "3:7: unknown key 'after_halt' in hooks of task 'web' (did you mean 'after_stop'?)",
    ),
    ('port = "80"', "3:8: task 'web': port must be a whole number, not \"80\" (write it without quotes)"),
    ("port = 80.5", "3:8: task 'web': port must be a whole number, not 80.5"),
    ("port = true", "3:8: task 'web': port must be a whole number, not true"),
    ("port = 0", "3:8: task 'web': port must be at least 1, not 0"),
    ("port = -1", "3:8: task 'web': port must be at least 1, not -1"),
    ("port = 65536", "3:8: task 'web': port must be at most 65535, not 65536"),
    ("description = 5", "3:15: task 'web': description must be a string, not 5 (write it in quotes)"),
    ("description = 2024-05-06", "3:15: task 'web': description must be a string, not the date or time 2024-05-06"),
    ("auto_start = 1", "3:14: task 'web': auto_start must be true or false, not 1"),
    ("health_interval = 0", "3:19: task 'web': health_interval must be more than 0, not 0"),
    ("health_interval = nan", "3:19: task 'web': health_interval must be a finite number"),
    ('replicas = "5"', "3:12: task 'web': replicas must be a whole number, not \"5\" (write it without quotes)"),
    ('restart_backoff = ""', "3:19: task 'web': restart_backoff must be a number, not \"\""),
    ('health_interval = "5s"', "3:19: task 'web': health_interval must be a number, not \"5s\" (write 5: seconds)"),
    ('auto_start = "yes"', "3:14: task 'web': auto_start must be true or false, not \"yes\""),
    ("stop_grace_period = -1", "3:21: task 'web': stop_grace_period must be at least 0, not -1"),
    ("max_restarts = -1", "3:16: task 'web': max_restarts must be at least 0, not -1"),
    (
        'restart_policy = "allways"',
        "3:18: task 'web': restart_policy is \"allways\", not one of \"always\", \"no\", \"on-failure\""
        " (did you mean 'always'?)",
    ),
    ('depends_on = "db"', "3:14: task 'web': depends_on must be a list, not \"db\" (write [\"db\"])"),
    ("depends_on = [5]", "3:15: task 'web': depends_on[0] must be a string or a table, not 5"),
    ('depends_on = ["wep"]', "3:15: task 'web': 'wep' is not a task"),
    ('depends_on = ["web"]', "3:15: task 'web': tasks wait for each other: web → web"),
    (
        'depends_on = [{ tsk = "db" }]',
        "3:17: unknown key 'tsk' in depends_on[0] of task 'web' (did you mean 'task'?)",
    ),
    ('env = "A=1"', "3:7: task 'web': env must be a table"),
    ("env.PORT = 80", "3:12: task 'web': env.PORT must be a string (write it in quotes)"),
    ('env."A B" = "1"', "3:5: task 'web': 'A B' is not a name for an environment variable"),
    ('env.PANEVIEW_RUN = "1"', "3:5: task 'web': PANEVIEW_RUN is set by paneview itself"),
    ('cwd = " "', "3:7: task 'web': cwd is empty"),
    ('schedule = "61 * * * *"', "3:12: task 'web': schedule: '61 * * * *' is not a cron expression: bad minute"),
    (
        'health_log = "("',
        "3:14: task 'web': health_log: '(' is not a regular expression:"
        " missing ), unterminated subpattern at position 0",
    ),
    (
        'health_url = "localhost:80"',
        "3:14: task 'web': health_url: 'localhost:80' is not an address: write it as http://localhost:8000/path",
    ),
    (
        'health_tcp = "db"',
        "3:14: task 'web': health_tcp: 'db' is not an address: write host:port, port from 1 to 65535",
    ),
    ("health_status = 200", "3:1: task 'web': health_status is for health_url, which is not set"),
    (
        'health_url = "http://localhost/"\nhealth_status = []',
        "4:17: task 'web': health_status is an empty list: no answer would be healthy",
    ),
    (
        'log_max_size = "10 parsec"',
        "3:16: task 'web': log_max_size: '10 parsec' is not a size: write it as 500KB, 10MB or 1GB",
    ),
    (
        'log_max_age = "old"',
        "3:15: task 'web': log_max_age: 'old' is not a length of time: write it as 30s, 5m, 2h, 7d or 1w",
    ),
    ("replicas = 0", "3:12: task 'web': replicas must be at least 1, not 0"),
    (
        "replicas = 2\nport = 80",
        "4:8: task 'web': port 80 can't be shared by replicas"
        " (give each its own by ${PANEVIEW_REPLICA} in the command)",
    ),
    ('[task.db]\ncommand = "x"', "3:2: unknown key 'task' at the top of the file (did you mean 'tasks'?)"),
    ("[websocket]\nprot = 1", "4:1: unknown key 'prot' in websocket (did you mean 'port'?)"),
    (
        '[websocket]\nhost = "0.0.0.0"',
        '4:8: websocket.host is "0.0.0.0", not one of "127.0.0.1", "::1", "localhost" (did you mean \'127.0.0.1\'?)',
    ),
    ("[tmux]\nsocket = 'a/b'", "4:10: tmux socket 'a/b' is neither a name nor an absolute path"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "said"), WRONG_LINES, ids=[wrong for wrong, _ in WRONG_LINES])
def test_one_mistake_is_told_once(tmp_path: Path, wrong: str, said: str) -> None:
    assert lines(tmp_path, TASK + wrong) == [said]


@pytest.mark.parametrize("name", ["a.b", "a b", "a:b", "a/b", "-a", "7", "", "ä", "a" * 65, "a\nb"])
def test_task_names_that_would_be_trouble(tmp_path: Path, name: str) -> None:
    said = lines(tmp_path, f'[tasks.{json.dumps(name)}]\ncommand = "x"')
    assert len(said) == 1
    assert said[0].startswith(f"1:8: task name {name!r} can't be used (letters, digits, _ and -")


@pytest.mark.parametrize("name", ["my.app", "a:b", "-a", "a/b", " a", "x" * 65])
def test_session_names_that_tmux_would_change(tmp_path: Path, name: str) -> None:
    assert lines(tmp_path, f'name = "{name}"')[0].startswith(
        f"1:8: name {name!r} can't be used for a tmux session"
    )


def test_all_mistakes_at_once_and_none_that_only_follows(tmp_path: Path) -> None:
    text = """\
        nam = "shop"
        [tasks.db]
        comand = "postgres"
        port = "5432"
        cwd = "missing"
        [tasks.api]
        command = "serve ${NOWHERE}"
        depends_on = ["db", "wbe"]
        env = { PORT = 80, URL = "http://${PORT}" }
        health_url = "${URL}/health"
        [tasks.web]
        command = " "
        port = 80
        env_file = "nope.env"
        [tasks.more]
        command = "x"
        port = 80
        """
    assert lines(tmp_path, text) == [
        "1:1: unknown key 'nam' at the top of the file (did you mean 'name'?)",
        "3:1: unknown key 'comand' in task 'db' (did you mean 'command'?)",
        "4:8: task 'db': port must be a whole number, not \"5432\" (write it without quotes)",
        f"5:7: task 'db': cwd '{tmp_path}/missing' does not exist",
        "7:11: task 'api': ${NOWHERE} is not set in the environment or an env_file"
        " (${NOWHERE:-default} gives it a default)",
        "8:21: task 'api': 'wbe' is not a task (did you mean 'web'?)",
        "9:16: task 'api': env.PORT must be a string (write it in quotes)",
        "12:11: task 'web': command is empty",
        f"14:12: task 'web': env_file '{tmp_path}/nope.env' does not exist",
        "17:8: task 'more': port 80 is already that of task 'web'",
    ]


def test_a_task_without_a_command_is_told_where_it_stands(tmp_path: Path) -> None:
    assert lines(tmp_path, "[tasks.web]\nport = 80") == ["1:8: task 'web' has no 'command'"]
    said = lines(
        tmp_path, "zzz = 1\n[tasks.web]\nport = 80\n[tasks.db]\nport = 'x'\n[tasks.ok]\ncommand = ' '"
    )
    assert [line[:5] for line in said] == ["1:1: ", "2:8: ", "4:8: ", "5:8: ", "7:11:"]
    assert lines(tmp_path, "[tasks]\nweb.port = 80") == ["2:1: task 'web' has no 'command'"]


def test_cycles_are_told_with_their_path(tmp_path: Path) -> None:
    text = "".join(
        f'[tasks.{name}]\ncommand = "x"\ndepends_on = {needs}\n'
        for name, needs in {
            "a": '["b"]',
            "b": '["c"]',
            "c": '["a"]',
            "d": '["e"]',
            "e": '["d"]',
            "f": '["a"]',
        }.items()
    )
    assert lines(tmp_path, text) == [
        "3:15: task 'a': tasks wait for each other: a → b → c → a",
        "12:15: task 'd': tasks wait for each other: d → e → d",
    ]


def test_waiting_for_the_end_of_what_never_ends(tmp_path: Path) -> None:
    text = """\
        [tasks.a]
        command = "x"
        depends_on = [{ task = "b", condition = "completed" }]
        [tasks.b]
        command = "x"
        restart_policy = "always"
        """
    assert lines(tmp_path, text) == [
        "3:15: task 'a': waits for task 'b' to complete, but that is always restarted"
        ' (\'b\' needs restart_policy "no" or "on-failure")'
    ]


def test_a_task_has_one_kind_of_probe(tmp_path: Path) -> None:
    said = lines(tmp_path, TASK + 'health_tcp = 80\nhealth_check = "true"\n')
    assert said == ["3:1: task 'web': health_tcp beside health_check: a task has one kind of probe"]


def test_log_file_shared(tmp_path: Path) -> None:
    text = TASK + 'log_file = "a.log"\n[tasks.b]\ncommand = "x"\nlog_file = "./a.log"\n'
    assert lines(tmp_path, text) == [
        f"6:12: task 'b': log_file {tmp_path}/a.log is already that of task 'web'"
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[tasks.web\ncommand = 'x'\n", "1:11: expected ']' at the end of a table declaration"),
        (b"name = \n", "1:8: invalid value (text stands in quotes; numbers, true and false do without)"),
        (b"name = shop\n", "1:8: invalid value (text stands in quotes; numbers, true and false do without)"),
        (
            b"x = 5s\n",
            "1:6: expected newline or end of document after a statement"
            " (text stands in quotes; numbers, true and false do without)",
        ),
        (
            b'x = "echo "hi""\n',
            "1:12: expected newline or end of document after a statement"
            " (a text that holds quotes stands between ''' and ''')",
        ),
        (
            b'x = "a\nb"\n',
            "1:7: illegal character '\\n' (a text of several lines stands between ''' and ''')",
        ),
        (b'x = "\\d"\n', "1:8: unescaped '\\' in a string (between '…' a backslash means nothing special)"),
        (b"[web]\ncommand = 'x'\n", "1:2: unknown key 'web' at the top of the file (a task is [tasks.web])"),
        (b"[tasks]\nweb = 'x'\n", '2:7: task \'web\' must be a table, not "x" (write { command = "…" })'),
        (b"[[tasks]]\nname = 'x'\n", "1:3: tasks must be a table, not a list (write [tasks.NAME])"),
        (b"name = 'a'\nname = 'b'\n", "2:11: this key is defined twice"),
        (b"[a]\n[b]\n[a]\n", "3:3: [a] is defined twice"),
        (b"name = 'a", '1:10: expected "\'"'),
        (b"ok = 1\nname = '\xff'\n", "2:9: is not UTF-8 text"),
        pytest.param(
            b"name = " + b"[" * 2000 + b"]" * 2000,
            "1:108: tables and lists are nested more than 100 deep here",
            id="deep lists",
        ),
        pytest.param(
            b"[x]\n" + b"a." * 2000 + b"b = 1",
            "2:202: tables and lists are nested more than 100 deep here",
            id="long key",
        ),
        pytest.param(
            b"x = '''\n[[['''  # [[\ny = " + b"{a=" * 400 + b"1" + b"}" * 400,
            "3:305: tables and lists are nested more than 100 deep here",
            id="deep tables",
        ),
        pytest.param(b"ok = 1\nname = " + b"1" * 5000, "2:8: this number is too long", id="long number"),
        (b"\xef\xbb\xbfname = 'a'", "1:1: begins with a byte order mark (save it as UTF-8 without one)"),
    ],
)
def test_syntax_errors_have_their_place(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "paneview.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_project(path, {})
    assert str(caught.value) == f"{path}:{said}"


@pytest.mark.parametrize(
    ("table", "at"),
    [("tasks.web]\ncommand = 'x'\ncwd", "3:7"), ("tasks.web]\ncommand = 'x'\nlog_file", "3:12"),
     ("workers.w]\ncwd", "2:7"), ("workers.w]\nallow", "2:9")],
)  # fmt: skip
def test_paths_that_cannot_be_looked_at(tmp_path: Path, table: str, at: str) -> None:
    value = f'["{"a" * 300}"]' if "allow" in table else f'"{"a" * 300}"'
    (said,) = lines(tmp_path, f"[{table} = {value}\n")
    assert said.startswith(f"{at}: ")
    assert said.endswith("' can't be looked at: File name too long")


def test_a_log_file_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    text = TASK + 'log_file = "pipe"\n[tasks.b]\ncommand = "x"\nlog_file = "/dev/null"\n'
    hint = "(leave log_file out where no file is wanted: the log is stored anyway)"
    assert lines(tmp_path, text) == [
        f"3:12: task 'web': log_file '{tmp_path}/pipe' is not a regular file {hint}",
        f"6:12: task 'b': log_file '/dev/null' is not a regular file {hint}",
    ]


def test_a_log_file_that_would_write_over_something(tmp_path: Path) -> None:
    text = TASK + 'log_file = "b.log.2"\n[tasks.b]\ncommand = "x"\nlog_file = "b.log"\n'
    text += (
        '[tasks.c]\ncommand = "x"\nlog_file = "./paneview.toml"\n[tasks.d]\ncommand = "x"\nlog_file = "d.1"\n'
    )
    assert lines(tmp_path, text) == [
        f"3:12: task 'web': log_file '{tmp_path}/b.log.2' is the name that '{tmp_path}/b.log' gets when it is full",
        f"9:12: task 'c': log_file '{tmp_path}/paneview.toml' is this very file",
    ]


@pytest.mark.parametrize("password", ["pa[ss", "pa]ss", "p[a]ss", "p\u2100ss"])
def test_a_broker_that_is_no_url(tmp_path: Path, password: str) -> None:
    said = lines(tmp_path, f'[queue]\nbroker = "redis://:{password}@localhost:6379/0"\n')
    assert said == ["2:10: broker is not a URL: redis://… (percent-encode the password: [ as %5B, ] as %5D)"]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file or directory"):
        load_project(tmp_path / "paneview.toml", {})


def test_what_is_no_file_keeps_nobody_waiting(tmp_path: Path) -> None:
    fifo, endless, huge = tmp_path / "fifo.toml", tmp_path / "endless.toml", tmp_path / "huge.toml"
    os.mkfifo(fifo)
    endless.symlink_to("/dev/zero")
    huge.touch()
    os.truncate(huge, LARGEST + 1)
    for path, told in (
        (fifo, "not a regular file"),
        (endless, "not a regular file"),
        (huge, "larger than 16 MB"),
    ):
        with pytest.raises(ConfigError, match=told):
            load_project(path, {})
        with pytest.raises(OSError, match=told):
            task_text(path, "web")
        asked = (
            f"[workflows.x]\n[[workflows.x.phases]]\nname = 'a'\nrole = 'r'\nprompt_file = '{path.name}'\n"
        )
        for text in (f"env_file = '{path.name}'", asked):
            assert told in lines(tmp_path, text)[0]


def test_mistakes_in_an_env_file_are_told_there(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GOOD=1\n\nBAD LINE\nREF=${NOWHERE}\n")
    found = problems(tmp_path, TASK + 'env_file = ".env"\n')
    assert [str(problem) for problem in found] == [
        f"{tmp_path}/.env:3:1: this line is not NAME=value; is a quote not closed?",
        f"{tmp_path}/.env:4:1: ${{NOWHERE}} is not set in the environment or an env_file"
        " (${NOWHERE:-default} gives it a default)",
    ]


def test_values_of_an_environment_are_never_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A='hunter2\n")
    said = "\n".join(lines(tmp_path, TASK + 'env_file = ".env"\nenv.PIN = 424242\n'))
    assert "hunter2" not in said
    assert "424242" not in said


def test_problem_as_json(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, TASK + "zzz = 1")
    assert problem.as_json() == {
        "file": str(tmp_path / "paneview.toml"),
        "line": 3,
        "column": 1,
        "message": "unknown key 'zzz' in task 'web'",
        "hint": "'paneview schema' describes all keys",
    }


def test_crlf_does_not_move_the_places(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    content = (TASK + "port = 0").replace("\n", "\r\n").encode()
    with pytest.raises(ConfigError, match=r":3:8: task 'web': port must be at least 1"):
        parse_project(content, path, {})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "tasks",
        "command",
        "env",
        "hooks",
        "depends_on",
        "port",
        "tmux",
        "health_status",
        "str",
        "Dependency",
        "web",
        "x",
    ]
)
DOCUMENTS = st.recursive(
    VALUES,
    lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=20,
)


@given(document=st.dictionaries(KEYS, DOCUMENTS, max_size=4))
def test_whatever_a_file_says_is_a_project_or_a_list_of_problems(document: dict[str, object]) -> None:
    try:
        text = tomli_w.dumps(_without_none(document))
    except (UnicodeEncodeError, ValueError):
        return
    found: tuple[Problem, ...] = ()
    try:
        parse_project(text.encode("utf-8", "replace"), Path("/nowhere/paneview.toml"), {})
    except ConfigError as error:
        found = error.problems or (Problem(None, None, None, "an error without a problem"),)
    assert all(problem.line and problem.column and problem.message for problem in found)


def _without_none(value: object) -> dict[str, object]:
    def clean(item: object) -> object:
        if isinstance(item, dict):
            return {key: clean(inner) for key, inner in item.items() if inner is not None}
        if isinstance(item, list):
            return [clean(inner) for inner in item if inner is not None]
        return item

    return clean(value)  # type: ignore[return-value]
