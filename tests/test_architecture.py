"""Conventions that no linter checks: sizes, the top level of the repository, and kinds of events."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from paneview.cli.events import CONFIG_KINDS
from paneview.cli.queue import panebus
from paneview.control.kinds import KINDS, PROJECT
from paneview.supervisor.queue.pushing import DEATHS
from paneview.supervisor.queue.workflows import FINAL_KINDS
from paneview.tui.happenings import PHRASES

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "paneview").rglob("*.py"))
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "paneview", "pyproject.toml", "sample.toml",
    "screenshots", "tests",
}  # fmt: skip


@cache
def _sources() -> tuple[list[tuple[bool, str, int]], set[str]]:
    """What is asked of the sources, each of which is parsed once, and then forgotten: they are a million objects.

    For each class and function: whether it is a class, its name, its number of lines; and each word that is told.
    """
    lengths, words = [], set()
    for path in SOURCES:
        text = path.read_text()
        tree = ast.parse(text)
        lengths += [
            (isinstance(node, ast.ClassDef), f"{path.name}: {node.name}", node.end_lineno - node.lineno + 1)
            for node in _defined(tree.body)
        ]
        if _TELLS.search(text):
            words |= _words_told(tree)
    return lengths, words


def _defined(block: list[Any]) -> Iterator[Any]:
    """The classes and functions in a block, at any depth (`ast.walk` would visit every name)."""
    for node in block:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        for name in ("body", "orelse", "handlers", "finalbody", "cases"):
            yield from _defined(vars(node).get(name, []))


def test_no_module_is_too_long() -> None:
    assert not {str(path): lines for path in SOURCES if (lines := len(path.read_text().splitlines())) >= 400}


def test_no_class_is_too_long() -> None:
    assert not [(name, lines) for is_class, name, lines in _sources()[0] if is_class and lines >= 300]


def test_functions_are_short() -> None:
    lengths = [lines for is_class, _, lines in _sources()[0] if not is_class]
    assert statistics.quantiles(lengths, n=10)[8] <= 35


def test_top_level_holds_nothing_else() -> None:
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    found = {path.name for path in ROOT.iterdir()} - {".git"}
    assert {name for name in found if not any(fnmatch(name, pattern) for pattern in ignored)} <= TOP_LEVEL


# The names that `threading.Thread` keeps for itself, from Python 3.11 to 3.15.
OF_THREADS = set(
    "_after_fork _args _bootstrap _bootstrap_inner _context _daemonic _delete _handle _ident _initialized"
    " _invoke_excepthook _is_stopped _kwargs _name _native_id _os_thread_handle _reset_internal_locks _set_ident"
    " _set_native_id _set_os_name _set_tstate_lock _started _stderr _stop _target _tstate_lock _wait_for_tstate_lock"
    .split()
)  # fmt: skip


def test_threads_leave_the_names_of_pythons_own_alone() -> None:
    # Whatever version runs this: with a `_handle` of its own, no thread starts on 3.13, and only there.
    texts = {path.name: text for path in SOURCES if "(threading.Thread)" in (text := path.read_text())}
    assert len(texts) >= 4
    names = {name: set(re.findall(r"\bself\.(_\w+)|\bdef (_\w+)", text)) for name, text in texts.items()}
    assert not {name: hit for name, found in names.items() if (hit := OF_THREADS & {*sum(found, ())})}


# The position of the event's kind among the arguments, by the name of the function.
TOLD_IN = {
    "Emit": (0,), "note": (0, 1), "note_task": (2,), "note_session": (0,), "_note": (0,), "_settle": (0,),
    "tell": (0,), "_tell": (2,), "lose": (3,),
}  # fmt: skip
_TELLS = re.compile(rf"\b(?:{'|'.join(TOLD_IN)})\(")
_KIND = re.compile(r"[a-z]+(_[a-z]+)+")
_LUA = re.compile(r"""\b(?:event|lose)\([^'\n]*'([a-z_]+)'""")


def _words_told(tree: ast.Module) -> set[str]:
    """Every text in a place of a call where the kind of an event is told."""
    parts = [
        call.args[place]
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for place in TOLD_IN.get(getattr(call.func, "attr", getattr(call.func, "id", "")), ())
        if place < len(call.args)
    ]
    words = [node.value for part in parts for node in ast.walk(part) if isinstance(node, ast.Constant)]
    return {word for word in words if isinstance(word, str)}


def _told() -> set[str]:
    """Every kind of event in a call that records it."""
    lua = "".join(path.read_text() for path in (ROOT / "paneview").rglob("*.lua"))
    return {word for word in _sources()[1] if _KIND.fullmatch(word)} | set(_LUA.findall(lua))


def test_every_kind_of_event_is_told_somewhere_and_every_told_one_is_offered() -> None:
    tables = {"kinds.py", "happenings.py", "panebus.py"}
    sources = "".join(
        path.read_text()
        for path in sorted((ROOT / "paneview").rglob("*"))
        if path.suffix in (".py", ".lua") and path.name not in tables
    )
    assert not [kind for kind in KINDS if f'"{kind}"' not in sources and f"'{kind}'" not in sources]
    assert len(KINDS) == len(set(KINDS))
    told = _told()
    assert len(told) > 60
    assert told | {*panebus.NAMES, *DEATHS, *CONFIG_KINDS, *FINAL_KINDS.values()} <= set(KINDS)
    # The screen's own events have phrases, too.
    assert set(PHRASES) == {*PROJECT, "refused", "version"}
