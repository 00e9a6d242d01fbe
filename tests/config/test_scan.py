"""Every value is found at its place, in every way that TOML has to write it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.config.editing.scan import Document, scan
from paneview.config.validate import Path

DOCUMENT = '''\
# a comment = "with" [brackets] and 'quotes'
top = 1 # trailing
dotted.key . "quoted.part" = 2
'single' = { a = 3, b.c = 4, d = [5, { e = 6 }], f = {} }
[table] # comment
text = """
[not.a.header]
key = "no" \\"""
ends with two quotes"""""
value = 7
[ "table" . 'in.ner' ]
literal = \'\'\'
it = 'nothing' \'\'\'
list = [ # comment ]
  8, # "
  9,
]
value = 10
[[array]]
value = 11
[array.sub]
value = 12
[[array]]
value = 13
[[array.deep]]
value = 14
[last]
date = 1979-05-27 07:32:00
value = 15
"tab\\tkey" = 16'''


def values(data: Any, path: Path = ()) -> dict[Path, Any]:
    """Every value of a document, by path, except those that hold others."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else None
    if items is None:
        return {path: data}
    return {place: value for key, inner in items for place, value in values(inner, (*path, key)).items()}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_value_is_found(newline: str) -> None:
    text = DOCUMENT.replace("\n", newline)
    document = scan(text)
    numbers = {path: value for path, value in values(tomllib.loads(text)).items() if isinstance(value, int)}
    assert sorted(numbers.values()) == list(range(1, 17))
    for path, number in numbers.items():
        assert text.startswith(str(number), document.spans[path].value), path


def test_keys_and_headers() -> None:
    document = scan(DOCUMENT)

    def at(*path: str | int) -> str:
        return DOCUMENT[document.spans[path].key :][:7]

    assert at("dotted", "key") == 'key . "'
    assert at("dotted", "key", "quoted.part") == '"quoted'
    assert at("single", "b", "c") == "c = 4, "
    assert at("table") == "table] "
    assert at("table", "in.ner") == "'in.ner"
    assert at("array", 1, "deep", 0, "value") == "value ="
    assert at("last") == "last]\nd"
    assert document.position(document.spans[("table",)].key) == (5, 2)


def test_a_tables_own_header_is_its_place() -> None:
    text = "[a.b]\n[c]\n[a]\n"
    assert scan(text).position(scan(text).spans[("a",)].key) == (3, 2)


def test_statements_take_whole_lines() -> None:
    document = scan(DOCUMENT)
    pieces = [DOCUMENT[statement.start : statement.end] for statement in document.statements]
    assert pieces[0] == "top = 1 # trailing\n"
    assert "[table] # comment\n" in pieces
    assert pieces[-1] == '"tab\\tkey" = 16'
    assert all(
        piece.startswith("[") == s.is_header for piece, s in zip(pieces, document.statements, strict=True)
    )


KEY = st.sampled_from(["a", "b-c", "1", '"q.q"', "'l l'", '"\\u00e9\\""'])
SCALAR = st.sampled_from(
    ["1", "-0.5", "true", "inf", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00", "07:32:00", '""', "''", '"\\"#"',
     "'#\"'", '"""\n"x\\\n"""', "'''\n'x''\n'''", '"""a"""""', '""""""']
)  # fmt: skip
SPACE = st.sampled_from(["", " ", "\t"])
GAP = st.sampled_from(["", " ", "\n", " # c ]}\n"])


def _joined(items: list[str], gap: str) -> str:
    return ",".join(f"{gap}{item}{gap}" for item in items)


VALUE = st.recursive(
    SCALAR,
    lambda inner: (
        st.builds(lambda items, gap: f"[{_joined(items, gap)}]", st.lists(inner, max_size=3), GAP)
        | st.builds(
            lambda items, space: (
                "{" + _joined([f"{k}{space}={space}{v}" for k, v in items.items()], space) + "}"
            ),
            st.dictionaries(KEY, inner, max_size=3),
            SPACE,
        )
    ),
    max_leaves=6,
)
DOTTED = st.builds(
    lambda keys, space: f"{space}.{space}".join(keys), st.lists(KEY, min_size=1, max_size=3), SPACE
)
LINE = (
    st.builds(lambda key, value, space: f"{space}{key}{space}={space}{value}{space}", DOTTED, VALUE, SPACE)
    | st.builds(lambda key, space: f"{space}[{space}{key}{space}]{space}# ]", DOTTED, SPACE)
    | st.builds(lambda key, space: f"[[{space}{key}{space}]]", DOTTED, SPACE)
    | st.sampled_from(["", "  ", "# [x] = 'y'"])
)


def _is_valid(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


@given(drawn=st.lists(LINE, max_size=12), newline=st.sampled_from(["\n", "\r\n"]), end=st.booleans())
def test_any_document(drawn: list[str], newline: str, end: bool) -> None:
    kept: list[str] = []
    for line in drawn:  # most drawn documents clash with themselves somewhere: leave out the lines that do
        if _is_valid("\n".join([*kept, line])):
            kept.append(line)
    text = ("\n".join(kept) + "\n" * end).replace("\n", newline)
    document = scan(text)
    for path, value in values(tomllib.loads(text)).items():
        assert _stands_at(document, path, value), path
    assert sorted(document.statements, key=lambda s: s.start) == document.statements


def _stands_at(document: Document, path: Path, value: object) -> bool:
    """Whether the text at the place where `path` is said to have its value begins with just this value."""
    start = document.spans[path].value
    return any(_read(document.text[start : start + length]) == repr(value) for length in range(1, 40))


def _read(text: str) -> str | None:
    try:
        return repr(tomllib.loads(f"k = {text}")["k"])
    except tomllib.TOMLDecodeError:
        return None
