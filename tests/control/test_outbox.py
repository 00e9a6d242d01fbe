"""The outbox against its promise.

Events exactly once and in order, state never older than what was put last.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from paneview.control.outbox import Outbox
from paneview.control.protocol import encode, encode_fragment

NAMES = ["a", "b", "c"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("tasks"), st.sets(st.sampled_from(NAMES), min_size=1)),
        st.tuples(st.just("remove"), st.sampled_from(NAMES)),
        st.tuples(st.just("snapshot"), st.none()),
        st.tuples(st.just("event"), st.none()),
        st.tuples(st.just("reply"), st.none()),
        st.tuples(st.just("heads"), st.sampled_from(NAMES)),
        st.tuples(st.just("take"), st.integers(1, 200)),
    ),
    max_size=60,
)


class Client:
    """Applies what comes out of an outbox as a client would."""

    def __init__(self) -> None:
        self.tasks: dict[str, int] = {}
        self.events: list[int] = []
        self.heads: dict[str, int] = {}
        self.seq = 0

    def read(self, data: bytes, truth_at: dict[int, dict[str, int]]) -> None:
        for message in map(json.loads, data.splitlines()):
            if "id" in message:
                # a reply never overtakes the state it was sent after
                for name, version in truth_at[message["id"]].items():
                    assert self.tasks.get(name, version) >= version
                self.events.append(message["id"])
                continue
            self.apply(message)

    def apply(self, message: dict[str, Any]) -> None:
        if message["push"] == "event":
            self.events.append(message["event"]["n"])
        elif message["push"] == "heads":
            self.heads.update(message["heads"])
        else:
            assert message["seq"] >= self.seq
            self.seq = message["seq"]
            if message["push"] == "snapshot":
                self.tasks.clear()
            changed = message["status"] if message["push"] == "snapshot" else message["tasks"]
            self.tasks.update({task["name"]: task["v"] for task in changed})


def tasks(truth: dict[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "v": version} for name, version in truth.items()]


@given(STEPS)
@example([("tasks", {"a"}), ("take", 1), ("tasks", {"a"}), ("reply", None), ("snapshot", None)])
def test_a_client_of_any_pace_ends_with_the_truth_and_misses_no_event(steps: list[tuple[str, Any]]) -> None:
    outbox, client = Outbox(), Client()
    truth: dict[str, int] = {}
    heads: dict[str, int] = {}
    sent: list[int] = []
    truth_at: dict[int, dict[str, int]] = {}
    for number, (what, value) in enumerate(steps, 1):
        if what == "tasks":
            truth.update(dict.fromkeys(value, number))
            changed = {name: encode_fragment({"name": name, "v": number}) for name in value}
            outbox.put_tasks(number, changed)
        elif what == "remove":
            truth.pop(value, None)
            outbox.put_snapshot(number, encode_fragment(tasks(truth)))
        elif what == "snapshot":
            outbox.put_snapshot(number, encode_fragment(tasks(truth)))
        elif what == "event":
            sent.append(number)
            assert outbox.put_event(encode({"push": "event", "event": {"n": number}}))
        elif what == "reply":
            sent.append(number)
            truth_at[number] = dict(truth)
            outbox.put_reply(encode({"id": number}))
        elif what == "heads":
            heads[value] = number
            outbox.put_heads({value: number})
        else:
            client.read(outbox.take(value), truth_at)
    client.read(outbox.take(1 << 30), truth_at)
    assert not outbox
    assert client.tasks == truth
    assert client.heads == heads
    assert client.events == sent
    assert (outbox.events, outbox.event_bytes, outbox.reply_bytes) == (0, 0, 0)


def test_waiting_state_does_not_grow_with_changes() -> None:
    outbox = Outbox()
    for number in range(10_000):
        outbox.put_tasks(number, {"web": b'{"name":"web","v":%d}' % number})
        outbox.put_heads({"web": number})
        outbox.put_snapshot(number, b"{}")
    lines = outbox.take(1 << 30).splitlines()
    assert len(lines) == 2


def test_the_bound_counts_events_and_their_bytes() -> None:
    few = Outbox(max_events=3)
    assert [few.put_event(b"x\n") for _ in range(4)] == [True, True, True, False]
    small = Outbox(max_event_bytes=10)
    assert [small.put_event(b"1234\n") for _ in range(3)] == [True, True, False]
    small.replace(b"cut\n")
    assert small.take(100) == b"cut\n"


def test_room_is_made_by_reading() -> None:
    outbox = Outbox(max_events=3)
    for _ in range(20):
        assert outbox.put_event(b"x\n")
        assert outbox.take(100) == b"x\n"
