from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.control.errors import ControlError
from paneview.control.protocol import LineSplitter, decode, encode, parse_request
from tests.texts import texts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(texts(), JSON, max_size=3))
def test_an_object_survives_the_wire_as_one_line_of_ascii(message: dict[str, object]) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert decode(line) == message


@given(st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b"")), max_size=10), st.data())
def test_lines_are_found_however_the_stream_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    splitter = LineSplitter(limit=20)
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += list(splitter.feed(stream[start:end]))
    assert found == [line if len(line) <= 20 else None for line in lines]


def test_a_line_without_end_is_not_kept() -> None:
    splitter = LineSplitter(limit=1000)
    for _ in range(100):
        assert list(splitter.feed(b"x" * 999)) == []
    assert sum(map(len, splitter._parts)) <= 1000
    assert list(splitter.feed(b"\nnext\n")) == [None, b"next"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"\xff\xfe",
        b"[1]",
        b'"text"',
        b"[" * 100_000,
        b'{"id": NaN}',
        b"9" * 10_000,
        b'{"a":1}{"b":2}',
    ],
)
def test_what_is_no_object_is_told_and_raises_nothing_else(line: bytes) -> None:
    with pytest.raises(ControlError) as caught:
        decode(line)
    assert caught.value.code == "bad_request"


def test_defaults_are_filled_in_and_null_counts_as_left_out() -> None:
    request = parse_request(
        {"id": "a", "do": "start", "args": {"tasks": ["db"], "deps": None}, "client": "cli"}
    )
    assert request.args == {"tasks": ["db"], "deps": True}
    assert (request.id, request.client) == ("a", "cli")
    assert parse_request({"do": "stop"}).args == {"tasks": None}


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({}, 'no "do"'),
        ({"do": 3}, 'no "do"'),
        ({"do": "statsu"}, "did you mean 'status'"),
        ({"do": "x" * 10_000}, "unknown request"),
        ({"do": "stop", "args": []}, "not an object"),
        ({"do": "stop", "args": {"task": ["db"]}}, "did you mean 'tasks'"),
        ({"do": "stop", "args": {"tasks": "db"}}, "a list of strings"),
        ({"do": "stop", "args": {"tasks": [1]}}, "a list of strings"),
        ({"do": "inspect"}, "needs the argument 'task'"),
        ({"do": "start", "args": {"deps": 1}}, "true or false"),
        ({"do": "events", "args": {"limit": -1}}, "0 or more"),
        ({"do": "events", "args": {"limit": True}}, "0 or more"),
        ({"do": "events", "args": {"since": "5m"}}, "a number"),
        ({"do": "events", "args": {"since": 10**400}}, "64 bits"),
        ({"do": "events", "args": {"after": 1 << 63}}, "64 bits"),
        ({"do": "events", "args": {"after": -(1 << 63) - 1}}, "64 bits"),
        ({"do": "events", "args": {"limit": 1 << 63}}, "64 bits"),
        ({"do": "log_find", "args": {"task": "a", "pattern": "b", "direction": "up"}}, '"forward"'),
    ],
)
def test_a_wrong_request_names_what_is_wrong(message: dict[str, object], words: str) -> None:
    with pytest.raises(ControlError, match=words) as caught:
        parse_request(message)
    assert len(caught.value.message) < 200


def test_an_error_keeps_its_keys_over_the_wire() -> None:
    error = ControlError("Task 'ghost' not found in config", "not_found", results=[{"error_code": "E200"}])
    again = ControlError.from_json(json.loads(encode({"id": 1, **error.to_json()})))
    assert (again.message, again.code, again.extra) == (error.message, error.code, error.extra)
