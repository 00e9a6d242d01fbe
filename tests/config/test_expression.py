"""The language of ``when``."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.config.workflows.expression import DEEPEST, LONGEST, ExpressionError, parse
from tests.texts import texts

VALUES: dict[str, Any] = {
    "work": {
        "lines": 20,
        "attempts": 2,
        "text": "all good",
        "data": {"new": True, "list": ["a", 3], "none": None},
    },
    "re-view": {"data": {"score": 0.5, "tags": ["bug"]}, "text": ""},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("work.lines >= 20", True),
        ("work.lines > 20", False),
        ("work.lines == 20.0", True),
        ("work.lines != 20", False),
        ("work.lines < 21 and work.attempts > 1", True),
        ("work.lines > 21 or not re-view.text", True),
        ("not (work.lines > 21 or work.attempts)", False),
        ("work.data.new", True),
        ("work.data.new == true", True),
        ("work.data.new == 1", False),
        ("work.data.none == null", True),
        ("nothing.at.all", False),
        ("nothing < 3", False),
        ("nothing >= 3", False),
        ("nothing == null", True),
        ("work.text == 'all good'", True),
        ('"good" in work.text', True),
        ("'a' in work.data.list", True),
        ("work.data.list.1 == 3", True),
        ("work.lines in [1, 20]", True),
        ("work.lines in []", False),
        ("re-view.data.score > -1", True),
        ("work.text > 3", False),
        ("'bug' in re-view.data.tags and not not true", True),
        ("false or null", False),
    ],
)
def test_what_holds(text: str, holds: bool) -> None:
    assert parse(text).holds(VALUES) is holds


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0), ("work.lines >=", 13), ("(work", 5), ("work lines", 5), ("work.lines + 1", 11), ("f(x)", 1),
        ("__import__('os').system('x')", 10), ("work.lines = 3", 11), ("'open", 0), ("[a]", 1), ("and", 0),
        ("work..lines", 4), ("1.2.3", 0), ("lambda: 1", 6),
    ],
)  # fmt: skip
def test_what_is_no_expression(text: str, position: int) -> None:
    with pytest.raises(ExpressionError) as raised:
        parse(text)
    assert raised.value.position >= min(position, len(text))


def test_what_is_too_deep_or_too_long_is_refused() -> None:
    parse("not " * DEEPEST + "a")
    for text in ("not " * (DEEPEST + 1) + "a", "(" * (DEEPEST + 1) + "a", "a" * (LONGEST + 1)):
        with pytest.raises(ExpressionError):
            parse(text)


def test_explains_with_what_it_saw() -> None:
    found = parse("work.lines > 30 or gone.data or work.data.new == false or work.lines == 1")
    assert found.paths == ("work.lines", "gone.data", "work.data.new")
    assert found.explain(VALUES) == "work.lines = 20, gone.data = null, work.data.new = true"


@given(texts(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except ExpressionError:
        return
    assert found.holds(VALUES) in (True, False)
    assert isinstance(found.explain(VALUES), str)


_LEAVES = st.sampled_from(
    ["work.lines", "re-view.text", "no.where", "true", "null", "3", "-2.5", "'x'", "[1, 'x']"]
)
_SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in"])
_TEXTS = st.recursive(
    st.one_of(_LEAVES, st.tuples(_LEAVES, _SIGNS, _LEAVES).map(" ".join)),
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda three: f"({' '.join(three)})"),
    ),
    max_leaves=8,
)


@given(_TEXTS, st.dictionaries(st.sampled_from(["work", "no"]), st.one_of(st.none(), st.integers(), texts())))
def test_nothing_raises_whatever_the_values_are(text: str, values: dict[str, Any]) -> None:
    found = parse(text)
    assert found.holds(values) in (True, False)
    assert parse(f"not ({text})").holds(values) is not found.holds(values)
