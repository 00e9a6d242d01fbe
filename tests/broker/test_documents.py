"""Documents with versions: the same on all brokers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from paneview.broker import Broker, BrokerError, ConflictError, Document, StaleLeaderError
from tests.broker.labs import Lab


def test_a_document_has_versions(broker: Broker) -> None:
    documents = broker.documents
    assert documents.get("s", "a") is None
    assert documents.versions("s") == {}
    assert documents.put("s", "a", {"x": "ä ' \" \n"}, version=0) == 1
    assert documents.put("s", "a", {"x": [1, None]}, version=1) == 2
    assert documents.get("s", "a") == Document("a", 2, {"x": [1, None]})
    documents.put("s", "b.c/ü", {}, version=0)
    assert documents.versions("s") == {"a": 2, "b.c/ü": 1}
    assert documents.versions("t") == {}


def test_only_one_changes_a_version(broker: Broker) -> None:
    documents = broker.documents
    documents.put("s", "a", {"n": 1}, version=0)
    for version in (0, 2):
        with pytest.raises(ConflictError):
            documents.put("s", "a", {"n": 2}, version=version)
    with pytest.raises(ConflictError):
        documents.put("s", "new", {}, version=3)
    assert documents.get("s", "a") == Document("a", 1, {"n": 1})


def test_steps_of_many_are_all_taken(lab: Lab) -> None:
    def count(_: int) -> None:
        documents = lab.open().documents
        for _ in range(10):
            while True:
                found = documents.get("s", "n")
                try:
                    version, number = (found.version, found.value["n"]) if found else (0, 0)
                    documents.put("s", "n", {"n": number + 1}, version=version)
                except ConflictError:
                    continue
                break

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(count, range(3)))
    found = lab.open().documents.get("s", "n")
    assert found == Document("n", 30, {"n": 30})


def test_a_leader_of_the_past_changes_nothing(broker: Broker) -> None:
    first = broker.lead("w", "one", 30.0)
    assert first is not None
    broker.documents.put("s", "a", {"n": 1}, version=0, leader=first)
    broker.resign(first)
    second = broker.lead("w", "two", 30.0)
    assert second is not None
    with pytest.raises(StaleLeaderError):
        broker.documents.put("s", "a", {"n": 2}, version=1, leader=first)
    assert broker.documents.put("s", "a", {"n": 3}, version=1, leader=second) == 2


def test_a_change_is_told(broker: Broker) -> None:
    cursor = broker.events.tail(1).cursor
    broker.documents.put("s", "a", {}, version=0, event="workflow_changed")
    broker.documents.put("s", "b", {}, version=0)
    told = [(event.kind, dict(event.detail)) for event in broker.events.read(cursor).events]
    assert told == [("workflow_changed", {"scope": "s", "name": "a", "version": 1})]


def test_it_can_be_forgotten(broker: Broker) -> None:
    documents = broker.documents
    documents.put("s", "a", {}, version=0)
    documents.put("s", "a", {"n": 1}, version=1)
    assert documents.remove("s", "a")
    assert not documents.remove("s", "a")
    assert documents.get("s", "a") is None
    assert documents.put("s", "a", {}, version=0) == 1


def test_names_are_short_and_printable(broker: Broker) -> None:
    for name in ("", "a\n", "x" * 101):
        with pytest.raises(BrokerError):
            broker.documents.put("s", name, {}, version=0)


def test_they_outlive_whoever_wrote_them(lab: Lab) -> None:
    lab.open().documents.put("s", "a", {"n": 1}, version=0)
    assert lab.open().documents.get("s", "a") == Document("a", 1, {"n": 1})
