"""When a task counts as waiting for an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.rules.asking import (
    AGAIN,
    FLOWING,
    QUIET,
    Answered,
    Asking,
    Asks,
    Due,
    Event,
    Grew,
    Look,
    Saw,
    Screen,
    compiled,
    may_be_agent,
    question,
    step,
)

USUAL = compiled()


def asked(*lines: str, cursor: int | None = None) -> str:
    return question(Screen(lines, len(lines) - 1 if cursor is None else cursor), USUAL)


@pytest.mark.parametrize(
    "line",
    [
        "Password: ",
        "[sudo] password for ann: ",
        "Enter passphrase for key '/home/ann/.ssh/id_ed25519': ",
        "Overwrite existing files? [y/N] ",
        "Do you want to continue? [Y/n]",
        "Proceed (yes/no)? ",
        "Are you sure you want to continue connecting (yes/no/[fingerprint])? ",
        "? Project name: (shop) ",
        "What is your name? ",
        "Press any key to continue...",
        "Press ENTER or type a command",
        "(Pdb) ",
        "ipdb> ",
        "Choose a number: ",
        "Username for 'https://example.org': ",
        "Do you wish to proceed? (y/n): ",
    ],
)
def test_lines_that_wait(line: str) -> None:
    assert asked("building", line) == line.strip()


@pytest.mark.parametrize(
    "line",
    [
        "Compiling: ",
        "Downloading 42 % ",
        "12:01:02 GET /?q=1",
        ">>> ",
        "$ ",
        "",
        "passwords updated",
        "[1/4] ",
        "... ",
    ],
)
def test_lines_that_do_not(line: str) -> None:
    assert asked("building", line) == ""


def test_only_the_line_with_the_cursor_counts() -> None:
    assert asked("Password: ", "thank you", "") == ""


def test_the_menu_of_an_agent() -> None:
    screen = [
        "╭──────────────────────────╮",
        "│ Bash command             │",
        "│ Do you want to proceed?  │",
        "│ \u276f 1. Yes                 │",
        "│   2. No, and tell why    │",
        "╰──────────────────────────╯",
        "",
    ]
    assert asked(*screen) == "Do you want to proceed?"
    assert asked("? Which one", "\u276f a", "  b", "") == "? Which one"
    assert asked("$ ls", "\u276f nothing was asked") == ""


def test_own_patterns_replace_the_usual_ones() -> None:
    own = compiled([r"ready\.$"])
    assert question(Screen(["I am ready."], 0), own) == "I am ready."
    assert question(Screen(["Password:"], 0), own) == ""


def test_an_answer_being_typed_is_still_awaited() -> None:
    screen = Screen(["Overwrite? [y/N] ye"], 0)
    assert question(screen, USUAL, asked="Overwrite? [y/N]") == "Overwrite? [y/N]"
    assert question(screen, USUAL) == ""


def test_which_commands_are_agents() -> None:
    assert may_be_agent("exec claude --resume")
    assert may_be_agent("/usr/bin/codex")
    assert not may_be_agent("claudette --serve")


def test_a_question_is_found_once_output_has_stopped_and_is_over_when_it_is_gone() -> None:
    state, effects = step(Asking(), Grew(), 10.0)
    assert (state.due, effects) == (10.0 + QUIET, ())
    state, effects = step(state, Grew(), 10.08)
    state, effects = step(state, Due(), 10.1)
    assert (effects, state.due) == ((), 10.08 + QUIET)
    state, effects = step(state, Due(), 10.18)
    assert effects == (Look(),)
    state, effects = step(state, Saw("Sure?"), 10.181)
    assert effects == (Asks("Sure?"),)
    assert step(state, Saw("Sure?"), 11.0)[1] == ()
    state, effects = step(state, Grew(worth=False), 20.0)
    state, effects = step(state, Due(), 20.1)
    assert effects == (Look(),)
    state, effects = step(state, Saw(""), 20.2)
    assert effects == (Answered(),)
    assert state.question == ""


def test_output_that_flows_on_ends_a_question() -> None:
    state, now = Asking("Sure?"), 100.0
    effects: tuple[object, ...] = ()
    while not effects:
        state = step(state, Grew(worth=False), now)[0]
        if state.due is not None and state.due <= now:
            state, effects = step(state, Due(), now)
        now += QUIET / 3
    assert effects == (Answered(),)
    assert now - 100.0 < FLOWING + 3 * QUIET


def test_whole_lines_are_never_looked_at() -> None:
    state = step(Asking(), Grew(worth=False), 5.0)[0]
    assert state.due is None


def test_a_busy_agent_is_asked_again() -> None:
    state, effects = step(Asking(), Saw("", busy=True), 5.0)
    assert (state.due, effects) == (5.0 + AGAIN, ())


EVENTS = st.one_of(
    st.builds(Grew, st.booleans()),
    st.just(Due()),
    st.builds(Saw, st.sampled_from(["", "a?", "b?"]), st.booleans()),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 1)), max_size=40))
def test_what_was_told_is_what_is_so(history: list[tuple[Event, float]]) -> None:
    state, now, told = Asking(), 0.0, ""
    for event, wait in history:
        now += wait
        if isinstance(event, Due):
            if state.due is None:
                continue
            now = max(now, state.due)
        state, effects = step(state, event, now)
        for effect in effects:
            if isinstance(effect, Asks):
                assert effect.question not in ("", told)
                told = effect.question
            elif isinstance(effect, Answered):
                assert told
                told = ""
        assert told == state.question
