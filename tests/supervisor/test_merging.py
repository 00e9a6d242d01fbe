"""Several logs merged by time: stable numbers, windows anywhere, searches in order."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from paneview.store import log_schema
from paneview.store.database import connect, prepare
from paneview.store.match import Query
from paneview.store.reader import Line, LogReader
from paneview.store.writer import LogWriter, When
from paneview.supervisor.logs.merging import Merged
from tests.store.helpers import Filled

TASKS = ("api", "web", "job")
COUNTS = {"api": 4_500, "web": 1_500, "job": 40}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LogReader, list[str]]]:
    """A store with three logs, and all their lines in order."""
    folder = tmp_path_factory.mktemp("merged")
    spool = folder / "spool"
    spool.mkdir()
    prepare(folder / "logs.db", log_schema.MIGRATIONS, pragmas=log_schema.PRAGMAS)
    dice = random.Random(7)
    # All different: times are stored to the millisecond, and lines of the same time have no order.
    ticks = iter(dice.sample(range(100_000, 200_000), sum(COUNTS.values())))
    moments = sorted((next(ticks) / 50, task) for task in TASKS for _ in range(COUNTS[task]))
    texts: list[str] = []
    at = dict.fromkeys(TASKS, 0)
    with closing(connect(folder / "logs.db")) as db:
        writer = LogWriter(db)
        with writer.transaction():
            for number, task in enumerate(TASKS):
                writer.open_run(number + 1, task)
            for moment, task in moments:
                text = f"{task} {at[task]}{' rare' if at[task] % 977 == 5 else ''}"
                at[task] += 1
                texts.append(text)
                log, run = writer.task(task), TASKS.index(task) + 1
                writer.add(log, run, 0, f"{text}\n".encode(), When.at(moment))
    with LogReader(folder / "logs.db", Path(spool)) as reader:
        yield reader, texts


def test_a_window_anywhere(written: tuple[LogReader, list[str]]) -> None:
    reader, texts = written
    merged = Merged(reader, TASKS)
    assert merged.bounds == (0, len(texts))
    for first in (0, 1, 700, 2_500, 3_300, len(texts) - 2_500, len(texts) - 50):
        found = merged.lines(first, 40, 1_000)
        assert [one.number for one in found] == list(range(first, min(first + 40, len(texts))))
        assert [one.line.raw.decode() for one in found] == texts[first : first + 40]
    assert merged.lines(len(texts), 10, 1_000) == []


def test_a_window_is_found_as_quickly_where_the_clock_was_set_back(
    written: tuple[LogReader, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, texts = written
    lines, read = reader.lines, list[Line]()

    def noted(*args: Any, **more: Any) -> list[Line]:
        read.extend(found := lines(*args, **more))
        return found

    monkeypatch.setattr(reader, "lines", noted)
    monkeypatch.setattr(time, "time", lambda: 1_000.0)  # before the first of them
    (found,) = Merged(reader, TASKS).lines(3_000, 1, 100)
    assert found.line.raw.decode() == texts[3_000]
    assert len(read) < len(texts) / 3


@pytest.mark.parametrize("back", [True, False])
def test_a_search_finds_every_hit_once_and_in_order(written: tuple[LogReader, list[str]], back: bool) -> None:
    reader, texts = written
    wanted = [at for at, text in enumerate(texts) if "rare" in text]
    following: int | None = len(texts) - 1 if back else 0
    found: list[int] = []
    while following is not None:
        hits, following = Merged(reader, TASKS).find(Query("rare"), following, back=back, limit=3)
        found += hits
    assert found == (wanted[::-1] if back else wanted)


@pytest.mark.parametrize("back", [True, False])
def test_a_search_goes_through_many_lines_of_one_moment(tmp_path: Path, back: bool) -> None:
    """A burst is stored with a single time: the search must go on inside it, and end."""
    count = 600
    (tmp_path / "spool").mkdir()
    filled = Filled(tmp_path)
    for run, task in enumerate(("api", "web"), start=1):
        filled.write(task, b"".join(b"line %d\n" % number for number in range(count)), run=run)
    merged = Merged(filled.reader, ("api", "web"))
    following: int | None = 2 * count - 1 if back else 0
    found: list[int] = []
    for _ in range(2 * count // 200 + 2):
        if following is not None:
            hits, following = merged.find(Query("line"), following, back=back, limit=200)
            found += hits
    filled.close()
    assert following is None
    assert sorted(found) == list(range(2 * count))
    assert found == sorted(found, reverse=back)


def test_what_may_still_change_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    filled = Filled(tmp_path)
    filled.write("api", b"old\nold\n", ts=time.time() - 60, run=1)
    filled.write("web", b"half", ts=time.time() - 50, run=2)
    filled.write("api", b"old\n", ts=time.time() - 40, run=1)
    assert Merged(filled.reader, ("api", "web")).settled() == 2  # the line of web may grow
    filled.write("web", b"whole\n", ts=time.time() - 30, run=2)
    merged = Merged(filled.reader, ("api", "web"))
    assert merged.settled() == 4
    filled.write("api", b"new\n", ts=time.time(), run=1)
    merged = Merged(filled.reader, ("api", "web"))
    assert merged.settled() == 4
    assert [one.unsettled for one in merged.lines(0, 10, 100)] == [False, False, True, False, True]
    filled.close()
