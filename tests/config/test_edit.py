"""Adding and removing tasks: the rest of the file keeps every byte."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.config.editing.edit import add_task, remove_task, replace_task, task_text
from paneview.config.errors import ConfigError
from paneview.config.load import load_project

FILE = """\
# The shop.
name = "shop"   # odd   spacing

[tasks.db] # the database
command = 'postgres'
# port = 5432

# The web server
[tasks.web]
command = "serve"
  [tasks.web.hooks]   # indented
  before_start = '''
[tasks.fake]
'''
[tasks]
extra = { command = "x" } # inline
dotted.command = "y"
dotted.auto_start = false
# the end"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "paneview.toml"
    path.write_bytes(FILE.encode())
    return path


def test_a_task_is_added_at_the_end_and_all_else_stays(file: Path) -> None:
    add_task(
        file,
        "new",
        {"command": 'echo "it\'s"\nexit', "port": 80, "env": {"A": "1"}, "depends_on": ["web"]},
        {},
    )
    assert file.read_bytes().decode() == FILE + (
        '\n\n[tasks.new]\ncommand = "echo \\"it\'s\\"\\nexit"\nport = 80\nenv = { A = "1" }\ndepends_on = ["web"]'
    )
    assert load_project(file, {}).tasks["new"].command == 'echo "it\'s"\nexit'


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("db", "\n[tasks.db] # the database\ncommand = 'postgres'\n"),
        (
            "web",
            '[tasks.web]\ncommand = "serve"\n  [tasks.web.hooks]   # indented\n'
            "  before_start = '''\n[tasks.fake]\n'''\n",
        ),
        ("extra", 'extra = { command = "x" } # inline\n'),
        ("dotted", 'dotted.command = "y"\ndotted.auto_start = false\n'),
    ],
)
def test_only_the_removed_task_goes(file: Path, name: str, gone: str) -> None:
    remove_task(file, name, {})
    assert FILE.count(gone) == 1
    assert file.read_bytes().decode() == FILE.replace(gone, "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("tasks = {  }", "tasks = {  }"),
        ('tasks = { a = { command = "x" } }', 'tasks = { a = { command = "x" } }'),
        ('tasks = {a.command="x"} # c\n', 'tasks = {a.command="x"} # c\n'),
    ],
)
def test_inline_tables_of_tasks_are_edited(file: Path, before: str, after: str) -> None:
    file.write_text(before)
    add_task(file, "new", {"command": "y"}, {})
    assert load_project(file, {}).tasks["new"].command == "y"
    remove_task(file, "new", {})
    assert file.read_text() == after


@pytest.mark.parametrize(
    ("name", "after"),
    [
        ("a", 'tasks = { b.command="2", c = { command = "3" } }'),
        ("b", 'tasks = { a = { command = "1" }, c = { command = "3" } }'),
        ("c", 'tasks = { a = { command = "1" }, b.command="2" }'),
    ],
)
def test_remove_from_an_inline_table(file: Path, name: str, after: str) -> None:
    file.write_text('tasks = { a = { command = "1" }, b.command="2", c = { command = "3" } }')
    remove_task(file, name, {})
    assert file.read_text() == after


def test_remove_scattered_entries_of_an_inline_table(file: Path) -> None:
    file.write_text(
        'tasks = { a.command = "1", b.command="2", a.port = 1, a.auto_start = true, c.command = "3" }'
    )
    remove_task(file, "a", {})
    assert file.read_text() == 'tasks = { b.command="2", c.command = "3" }'


@pytest.mark.parametrize("name", ["db", "web"])
def test_a_name_that_exists_is_refused(file: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"paneview.toml:\d+:\d+: task '{name}' exists already"):
        add_task(file, name, {"command": "x"}, {})
    assert file.read_bytes() == FILE.encode()


def test_what_would_not_load_is_refused(file: Path) -> None:
    for name, fields in {
        "a.b": {"command": "x"},
        "a": {"command": ""},
        "b": {"command": "x", "prot": 80},
        "c": {"command": "x", "depends_on": ["wbe"]},
    }.items():
        with pytest.raises(ConfigError):
            add_task(file, name, fields, {})
    assert file.read_bytes() == FILE.encode()


def test_what_others_need_is_not_removed(file: Path) -> None:
    file.write_text('[tasks.a]\ncommand = "x"\n[tasks.b]\ncommand = "x"\ndepends_on = ["a"]\n')
    with pytest.raises(ConfigError, match="task 'b': 'a' is not a task"):
        remove_task(file, "a", {})


def test_mistakes_are_told_where_they_stand_in_the_file_as_it_is(file: Path) -> None:
    with pytest.raises(ConfigError) as error:
        add_task(file, "new", {"command": "x", "cwd": "nosuch"}, {})
    assert str(error.value) == f"{file}: task 'new': cwd '{file.parent}/nosuch' does not exist"
    file.write_text(FILE.replace('command = "serve"', 'command = "serve"\ndepends_on = ["db"]'))
    with pytest.raises(ConfigError) as error:
        remove_task(file, "db", {})
    (problem,) = error.value.problems
    assert problem.line == 11, "the line before the task is gone"


def test_what_is_no_text_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        add_task(file, "new", {"command": "a\udcffb"}, {})
    assert file.read_text() == FILE


def test_a_task_that_is_not_there_is_not_removed(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"Task 'wbe' not found in config \(did you mean 'web'\?\)"):
        remove_task(file, "wbe", {})


def test_nothing_is_added_to_a_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        add_task(tmp_path / "paneview.toml", "a", {"command": "x"}, {})


def test_mode_and_symlink_stay(tmp_path: Path, file: Path) -> None:
    file.chmod(0o640)
    link = tmp_path / "sub" / "paneview.toml"
    link.parent.mkdir()
    link.symlink_to("../paneview.toml")
    add_task(link, "new", {"command": "x"}, {})
    assert link.is_symlink()
    assert b"[tasks.new]" in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["paneview.toml", "sub"]


def test_a_folder_that_cannot_be_synced_undoes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some mounts refuse to sync; by then the new file is in place."""

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", sync)
    add_task(file, "new", {"command": "x"}, {})
    assert "new" in load_project(file, {}).tasks


def test_edits_at_the_same_time_do_not_lose_each_other(file: Path) -> None:
    names = [f"t{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: add_task(file, name, {"command": "x"}, {}), names))
    assert set(names) < set(load_project(file, {}).tasks)


NAMES = ("a", "b-2", "C_3")
LAYOUTS = st.sampled_from(
    [
        "[tasks.{0}]\ncommand = 'x' # c",
        "[ tasks . {0} ] # c\n\n# before\ncommand = 'x'\n# after",
        "[tasks.'{0}'.hooks]\nbefore_start = 'x'\n[tasks.'{0}']\ncommand = 'x'",
        "[tasks.{0}]\ncommand = '''\n[tasks.zzz]\n'''\n\n[tasks.{0}.env]\nA = '1'\n\n",
        "[tasks.{0}]\ncommand = 'x'\ndepends_on = [ # ]\n]\n[[tasks.{0}.depends_on2]]",
        "[tasks]\n{0}.command = 'x'\n{0}.hooks.after_stop = 'y'",
        "[tasks]\n{0} = {{ command = 'x' }}",
        "tasks.{0}.command = 'x'",
        "tasks = {{ {0} = {{ command = 'x' }} }}",
        "tasks = {{}}",
        "# only a comment",
        "",
        "   ",
        "\n\n",
    ]
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A document that loads, made of pieces in any order."""
    text = draw(st.sampled_from(["", "name = 'n'"]))
    for name in NAMES:
        piece = draw(LAYOUTS).format(name)
        joint = draw(st.sampled_from(["\n", "\n\n", "\n# between\n"])) if text else ""
        for candidate in (text + joint + piece, piece + (joint or "\n") + text):
            if _loads(candidate):
                text = candidate
                break
    text += draw(st.sampled_from(["", "\n", "\n\n", "\n# the end", "\n   ", "\n# the end\n"]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def _loads(text: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "paneview.toml")
        path.write_bytes(text.encode())
        try:
            load_project(path, {})
        except ConfigError:
            return False
        return True


FIELDS = st.fixed_dictionaries(
    {
        "command": st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1
        ).filter(lambda text: text.strip() and "${" not in text)
    },
    optional={
        "port": st.integers(1, 65535),
        "env": st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["", "x\n", "'\"\\"])),
        "hooks": st.fixed_dictionaries({"before_start": st.just("x")}),
        "health_interval": st.floats(0.1, 1e6),
        "auto_start": st.booleans(),
    },
)


@given(text=documents(), fields=FIELDS)
def test_removing_what_was_added_gives_the_same_bytes(text: str, fields: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "paneview.toml")
        path.write_bytes(text.encode())
        environ = {"HOME": "x"}
        add_task(path, "new", fields, environ)
        after = path.read_bytes().decode()
        expected = tomllib.loads(text)
        expected.setdefault("tasks", {})["new"] = fields
        assert tomllib.loads(after) == expected
        assert _is_within(text, after)
        remove_task(path, "new", environ)
        assert path.read_bytes() == text.encode()


@given(text=documents())
def test_removing_leaves_the_rest(text: str) -> None:
    before = tomllib.loads(text)
    for name in before.get("tasks", {}):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "paneview.toml")
            path.write_bytes(text.encode())
            remove_task(path, name, {})
            after = path.read_bytes().decode()
        left = {other: task for other, task in before["tasks"].items() if other != name}
        assert tomllib.loads(after).get("tasks", {}) == left
        assert _is_within(after, text)
        assert after.count("# between") == text.count("# between")
        assert after.count("# the end") == text.count("# the end")


def _is_within(part: str, whole: str) -> bool:
    """Whether `part` is `whole` with something left out."""
    rest = iter(whole)
    return all(character in rest for character in part)


WHOLE = """\
# the database
[tasks.db]  # here
command = "a"

[tasks.db.env]
X = "1"  # one

[tasks.web]
command = "b"
depends_on = ["db"]

[tasks.db.hooks]
after_start = "true"
"""


def test_the_text_of_a_task_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "paneview.toml"
    file.write_text(WHOLE)
    was = task_text(file, "db")
    assert was.startswith("[tasks.db]  # here\n")
    assert was.endswith('[tasks.db.hooks]\nafter_start = "true"\n')
    replace_task(file, "db", was, '[tasks.db]\ncommand = "c"\n', {})
    assert file.read_text() == (
        '# the database\n[tasks.db]\ncommand = "c"\n\n[tasks.web]\ncommand = "b"\ndepends_on = ["db"]\n'
    )
    with pytest.raises(ConfigError, match="was changed meanwhile"):
        replace_task(file, "db", was, was, {})
    with pytest.raises(ConfigError, match="not found"):
        task_text(file, "ghost")


def test_a_replacement_that_does_not_load_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "paneview.toml"
    file.write_text(WHOLE)
    with pytest.raises(ConfigError):
        replace_task(file, "web", task_text(file, "web"), '[tasks.web]\ncommand = ""\n', {})
    assert file.read_text() == WHOLE


def test_a_task_inside_an_inline_table_is_for_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "paneview.toml"
    file.write_text('tasks = { a = { command = "x" } }\n')
    with pytest.raises(ConfigError, match="inside another table"):
        task_text(file, "a")


def test_a_folder_that_cannot_be_locked_is_one_on_nfs(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(refused, os.strerror(refused))

    monkeypatch.setattr("fcntl.flock", flock)
    refused = errno.EBADF
    remove_task(file, "web", {})
    assert '"serve"' not in file.read_text()
    refused = errno.EIO
    with pytest.raises(OSError, match=os.strerror(refused)):
        remove_task(file, "db", {})
    assert "postgres" in file.read_text()
