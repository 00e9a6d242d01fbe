"""The rules of the house that no linter knows: how large things may grow, and what lies where."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from paneview.cli.verbs import KINDS
from paneview.tui.happenings import PHRASES

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "paneview").rglob("*.py"))
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "paneview", "pyproject.toml", "sample.toml",
    "screenshots", "tests",
}  # fmt: skip


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _defined(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> Iterator[tuple[Path, ast.AST, int]]:
    for path in SOURCES:
        for node in ast.walk(_tree(path)):
            if isinstance(node, kind):
                yield path, node, node.end_lineno - node.lineno + 1  # type: ignore[attr-defined]


def test_no_module_is_too_long() -> None:
    assert not {str(path): lines for path in SOURCES if (lines := len(path.read_text().splitlines())) >= 400}


def test_no_class_is_too_long() -> None:
    assert not [(path.name, node.name, lines) for path, node, lines in _defined(ast.ClassDef) if lines >= 300]  # type: ignore[attr-defined]


def test_functions_are_short() -> None:
    lengths = [lines for _, _, lines in _defined((ast.FunctionDef, ast.AsyncFunctionDef))]
    assert statistics.quantiles(lengths, n=10)[8] <= 35


def test_top_level_holds_nothing_else() -> None:
    ignored = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    found = {path.name for path in ROOT.iterdir()} - {".git"}
    assert {name for name in found if not any(fnmatch(name, pattern) for pattern in ignored)} <= TOP_LEVEL


def test_every_kind_of_event_that_is_offered_or_worded_is_told_somewhere() -> None:
    tables = {"verbs.py", "happenings.py", "panebus.py"}
    told = "".join(
        path.read_text()
        for path in sorted((ROOT / "paneview").rglob("*"))
        if path.suffix in (".py", ".lua") and path.name not in tables
    )
    known = {*KINDS.split(), *PHRASES}
    assert not [kind for kind in sorted(known) if f'"{kind}"' not in told and f"'{kind}'" not in told]
