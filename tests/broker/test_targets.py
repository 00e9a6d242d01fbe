"""Targets, their lanes, and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from paneview.broker import BadJobError, Target

NAMES = st.text("abz019-_.:%ä", min_size=1, max_size=12)
TARGETS = st.one_of(
    st.just(Target()),
    st.builds(lambda name: Target(task=name), NAMES),
    st.builds(lambda name: Target(worker=name), NAMES),
    st.builds(lambda name: Target(host=name), NAMES),
    st.builds(lambda role, host: Target(role=role, host=host), NAMES, st.just("") | NAMES),
)


@given(TARGETS)
@example(Target(task="any"))
@example(Target(task="role:x"))
@example(Target(task="pane:"))
@example(Target(role="task:any", host="any"))
def test_what_is_written_is_read_as_the_same(target: Target) -> None:
    assert Target.read(str(target)) == target
    assert Target.of(target.lane) == target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("any", Target()),
        ("%3", Target(task="%3")),
        ("pane:%3", Target(task="%3")),
        ("role:plan@here", Target(role="plan", host="here")),
        ("a:b", Target(task="a:b")),
    ],
)
def test_what_a_person_writes(text: str, target: Target) -> None:
    assert Target.read(text) == target


@pytest.mark.parametrize("text", ["", "role:", "worker:", "host:", "role:@here", "role:plan@", "a b", "a@b"])
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(BadJobError):
        Target.read(text)
