from __future__ import annotations

from contextlib import suppress
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.cli.errors import UsageError
from paneview.cli.queue.verbs import QUEUE_VERBS
from paneview.cli.verbs import PARSER, QUEUE, WORKFLOW
from paneview.cli.workflow.verbs import WORKFLOW_VERBS
from tests.texts import texts

VERBS = PARSER.load_all()
WORDS = texts(min_size=1).filter(lambda word: not word.startswith("-") and word not in PARSER.verbs)


@given(st.lists(WORDS, max_size=3), st.integers(0, 3), st.integers(0, 3))
def test_json_may_stand_anywhere(words: list[str], at: int, file_at: int) -> None:
    line = ["logs", *words]
    line[min(at, len(line)) : min(at, len(line))] = ["--json"]
    line[min(file_at, len(line)) : min(file_at, len(line))] = ["--file=x.toml"]
    call = PARSER.parse(line)
    assert call.json
    assert (call.verb.name, call.words, call.text("file")) == ("logs", words, "x.toml")


@given(texts(min_size=1))
def test_an_option_takes_the_next_word_whatever_it_looks_like(value: str) -> None:
    for line in (
        ["logs", "-g", value, "web"],
        ["logs", "web", "--grep", value],
        ["logs", "web", f"--grep={value}"],
    ):
        call = PARSER.parse(line)
        assert (call.text("grep"), call.words, call.json) == (value, ["web"], False)


def test_json_as_a_value_is_a_value() -> None:
    call = PARSER.parse(["logs", "-g", "--json", "--json"])
    assert (call.text("grep"), call.json) == ("--json", True)


def test_short_options_come_in_one_word() -> None:
    call = PARSER.parse(["logs", "-fin20", "-C3", "web"])
    assert call.flag("follow")
    assert call.flag("ignore-case")
    assert (call.count("lines"), call.count("context"), call.words) == (20, 3, ["web"])


def test_help_as_the_first_word_is_help() -> None:
    call = PARSER.parse(["help"])
    assert (call.verb.name, call.flag("help"), call.words) == ("paneview", True, [])
    call = PARSER.parse(["help", "kill"])
    assert (call.verb.name, call.flag("help"), call.words) == ("kill", True, [])
    assert PARSER.parse(["start", "help"]).words == ["help"]


def test_everything_after_two_dashes_is_a_word() -> None:
    call = PARSER.parse(["add", "--port", "80", "--", "web", "--json"])
    assert (call.words, call.text("port"), call.json) == (["web", "--json"], "80", False)


def test_a_verb_wins_over_a_file_of_its_name_only_as_the_first_word() -> None:
    assert PARSER.parse(["status"]).verb.name == "status"
    assert PARSER.parse(["./status"]).verb.name == "paneview"
    call = PARSER.parse(["stop", "status"])
    assert (call.verb.name, call.words) == ("stop", ["status"])
    call = PARSER.parse(["-c", "status", "stop"])
    assert (call.verb.name, call.text("file")) == ("stop", "status")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("logs --fllow", "did you mean --follow"),
        ("logs -z", "no option -z"),
        ("logs -n", "-n needs a value: -n N"),
        ("logs --json=yes", "takes no value"),
        ("inspect", "needs NAME"),
        ("inspect a b", "does not take 'b'"),
        ("kill", "needs NAME"),
        ("health web", "does not take 'web'"),
        ("--serve status", "--serve does not go with 'status'"),
        (f"{__file__} b.toml", "does not take 'b.toml'"),
        ("--since 5m logs", "no option --since"),
        ("dlq rety x", "'dlq' has no command 'rety'; did you mean retry"),
        ("dlq show", "'dlq show' needs ID…"),
        ("dlq --limit 3 purge x", "--limit does not go with 'dlq purge'"),
        ("dlq show --all x", "'dlq show' has no option --all"),
        ("queue clean x", "'queue clean' does not take 'x'"),
        ("workflow approve a b c", "'workflow approve' does not take 'c'"),
    ],
)
def test_what_is_wrong_is_named(line: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PARSER.parse(line.split())


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("log web -f", "'paneview logs'"),
        ("strat web", "'paneview start'"),
        ("up web", "'paneview start'"),
        ("qqqq web", "'paneview --help' lists"),
    ],
)
def test_a_command_that_does_not_exist_is_named_whatever_follows_it(line: str, meant: str) -> None:
    with pytest.raises(UsageError, match="neither a command nor a file") as wrong:
        PARSER.parse(line.split())
    assert meant in (wrong.value.hint or "")


def test_a_sub_command_is_found_among_options_and_may_be_left_out() -> None:
    call = PARSER.parse(["workflow", "reject", "--why", "no", "one-1", "plan"])
    assert (call.verb.name, call.words, call.text("why")) == ("workflow reject", ["one-1", "plan"], "no")
    assert PARSER.parse(["dlq"]).verb.run == PARSER.parse(["dlq", "list"]).verb.run
    call = PARSER.parse(["dlq", "-n", "3", "list", "--json"])
    assert (call.verb.name, call.count("limit"), call.json) == ("dlq list", 3, True)
    assert PARSER.parse(["queue", "clean", "--help"]).verb.name == "queue clean"


@pytest.mark.parametrize("value", ["-1", "1.5", "", "ten", "²"])
def test_a_count_is_a_whole_number(value: str) -> None:
    with pytest.raises(UsageError, match="--lines needs a whole number"):
        PARSER.parse(["logs", "-n", value]).count("lines")


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("--limit 3 dlq", "paneview dlq --limit"),
        ("queue -n 3 dlq", "paneview dlq -n"),
        ("queue --older-than 3d clean", "paneview queue clean --older-than"),
        ("start --limit 3 jobs", "see 'paneview start --help'"),
        ("add web npm start", "the command stands in quotes"),
        ("add web vite --host", "the command stands in quotes"),
    ],
)
def test_what_stands_in_the_wrong_place_is_told_its_own(line: str, meant: str) -> None:
    with pytest.raises(UsageError) as wrong:
        PARSER.parse(line.split())
    assert meant in (wrong.value.hint or "")


@given(st.lists(texts()))
def test_no_command_line_is_more_than_a_usage_error(line: list[str]) -> None:
    with suppress(UsageError):
        PARSER.parse(line)


def test_the_table_is_complete() -> None:
    for verb in (*VERBS, *(sub for each in VERBS for sub in each.subs.values())):
        if verb.hidden:
            continue
        module, function = verb.run.split(":")
        assert callable(getattr(import_module(f"paneview.cli.{module}"), function))
        assert verb.summary.endswith(".")
        assert verb.example.startswith("paneview ") or "paneview completion" in verb.example
        assert len(verb.summary) <= 66
        for option in PARSER.options(verb):
            assert option.help
        keys = [option.key for option in PARSER.options(verb)]
        names = [name for option in PARSER.options(verb) for name in option.names]
        assert len(set(keys)) == len(keys)
        assert len(set(names)) == len(names)


def test_the_names_that_are_known_before_their_table_is_read_are_those_of_the_table() -> None:
    later = {name for verb in (*QUEUE_VERBS, *WORKFLOW_VERBS) for name in (verb.name, *verb.aliases)}
    assert later == {*QUEUE, *WORKFLOW}
