"""Jobs come in: who they are for, in which order they are taken, what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from paneview.broker import (
    Broker,
    BrokerError,
    NewJob,
    Outcome,
    QueueFullError,
    Settings,
    Target,
    UnknownJobError,
    lanes_of,
)
from tests.broker.helpers import job, kinds, state, submit, take, want, worker_of
from tests.broker.labs import SETTINGS, Lab

PAYLOADS = [
    None, True, 0, -1.5, 2**60, "", "text", "quotes ' \" \\ $(touch x) `x`", "line\nline\r\n\ttab \x1b[31m \x00",
    "äß→🎉", "\ud800", [], {}, [[], {}], {"": None, "a": [1, {"b": "c"}]}, "x" * 300_000,
]  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_a_payload_comes_back_as_it_was(broker: Broker, payload: object) -> None:
    id_ = submit(broker, payload=payload, meta={"given": payload})
    lease = take(broker)
    assert lease.id == id_
    assert lease.job.payload == payload
    assert type(lease.job.payload) is type(payload)
    assert lease.job.meta == {"given": payload}


def nested(levels: int) -> list[object]:
    """A list in a list in a list."""
    found: list[object] = []
    for _ in range(levels - 1):
        found = [found]
    return found


@pytest.mark.parametrize(
    "payload", [object(), math.nan, {1, 2}, b"bytes", nested(5000), {"a": [1, *nested(950)]}, (nested(300),)]
)
def test_what_is_no_json_is_refused(broker: Broker, payload: object) -> None:
    with pytest.raises(BrokerError, match="JSON"):
        submit(broker, payload=payload)
    assert broker.stats() == []


def test_a_job_is_found_with_all_it_was_given(broker: Broker) -> None:
    new = NewJob(
        "lint", {"a": 1}, Target(role="review", host="pi"), priority=7, timeout=12.5, max_attempts=9, key="k",
        meta={"m": "n"}, submitted_by="ann", group="g",
    )  # fmt: skip
    assert broker.submit(new).id == new.id
    found = job(broker, new.id)
    for name in (
        "id",
        "kind",
        "payload",
        "target",
        "priority",
        "timeout",
        "max_attempts",
        "key",
        "meta",
        "group",
    ):
        assert getattr(found, name) == getattr(new, name), name
    assert (found.state, found.lane, found.attempts, found.token) == ("queued", "r:review@pi", 0, 0)
    assert found.submitted_by == "ann"
    assert found.submitted_at > 1_500_000_000
    assert found.result is None
    assert found.errors == ()


def test_defaults_are_the_brokers(lab: Lab) -> None:
    broker = lab.open(Settings(timeout=77.0, max_attempts=5))
    found = job(broker, submit(broker))
    assert (found.timeout, found.max_attempts) == (77.0, 5)


def test_higher_priority_first_then_in_order(broker: Broker) -> None:
    low = [submit(broker, priority=-1) for _ in range(2)]
    plain = [submit(broker) for _ in range(3)]
    high = [submit(broker, priority=999) for _ in range(2)]
    lowest = submit(broker, priority=-999)
    assert [lease.id for lease in broker.claim(want(n=5))] == high + plain
    assert [take(broker).id for _ in range(3)] == [*low, lowest]
    assert broker.claim(want()) == []


def test_priority_counts_over_all_lanes_of_a_claim(broker: Broker) -> None:
    first = submit(broker)
    second = submit(broker, target=Target(role="a"))
    urgent = submit(broker, target=Target(task="web"), priority=1)
    lanes = lanes_of("w1", ["a"], tasks=["web"])
    assert [lease.id for lease in broker.claim(want(n=3, lanes=lanes))] == [urgent, first, second]


def test_only_those_take_a_job_it_is_for(broker: Broker) -> None:
    targets = {
        "role": Target(role="review"),
        "host": Target(host="pi"),
        "both": Target(role="review", host="pi"),
        "task": Target(task="web"),
        "pane": Target(task="%3"),
        "worker": Target(worker="w7"),
        "any": Target(),
    }
    ids = {name: submit(broker, target=target) for name, target in targets.items()}
    takers = {
        ("role",): lanes_of("x", ["review"])[1:-1],
        ("role", "both"): lanes_of("x", ["review"], "pi")[1:3],
        ("host",): ("h:pi",),
        ("task", "pane"): lanes_of("x", tasks=["web", "%3"])[1:3],
        ("worker",): ("w:w7",),
        ("any",): ("any",),
    }
    for names, lanes in takers.items():
        leases = broker.claim(want(n=10, lanes=lanes))
        assert {lease.id for lease in leases} == {ids[name] for name in names}, lanes
        for lease in leases:
            broker.release(lease)
    assert broker.claim(want(lanes=lanes_of("other", ["plan"], "server", ["db"])[:-1])) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "a b"}, {"role": "a@b"}, {"host": "x/y"}, {"task": "x" * 65}, {"task": "a", "role": "b"},
        {"host": "\n"},
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(BrokerError):
        Target(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"priority": 1000}, {"delay": -1}, {"timeout": 0}, {"max_attempts": 0}, {"id": "../x"}, {"id": ""},
        {"kind": ""}, {"key": "a\nb"}, {"group": "x" * 201},
    ],
)  # fmt: skip
def test_a_job_that_cannot_be_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BrokerError):
        NewJob(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"delay": 99_999_999_999.0}, "a delay of 99999999999 s is not between 0 and 1000000000"),
        ({"delay": math.nan}, "a delay of nan s is not between 0"),
        ({"timeout": 1e10}, "a timeout of 10000000000 s is not above 0 and up to 1000000000"),
        ({"timeout": 0.0}, "a timeout of 0 s is not above 0"),
    ],
)
def test_how_long_a_job_may_wait_and_take_is_told(fields: dict[str, float], words: str) -> None:
    with pytest.raises(BrokerError, match=words):
        NewJob(**fields)  # type: ignore[arg-type]
    assert NewJob(delay=1e9, timeout=1e9)


@pytest.mark.parametrize(
    "target",
    [Target(), Target(role="r"), Target(role="r", host="h"), Target(host="h.example"), Target(task="%3")],
)
def test_a_lane_names_its_target(target: Target) -> None:
    assert Target.of(target.lane) == target


def test_a_delayed_job_waits_for_its_time(lab: Lab) -> None:
    broker = lab.open()
    id_ = submit(broker, delay=60.0)
    assert state(broker, id_) == "delayed"
    found = job(broker, id_)
    assert found.not_before == pytest.approx(found.submitted_at + 60, abs=5)
    assert broker.claim(want()) == []
    lab.age(59.0)
    assert broker.claim(want()) == []
    lab.age(2.0)
    assert take(broker).id == id_


def test_what_is_due_keeps_its_place(lab: Lab) -> None:
    broker = lab.open()
    early = submit(broker, delay=60.0)
    later = submit(broker)
    lab.age(61.0)
    assert [lease.id for lease in broker.claim(want(n=2))] == [early, later]


def test_submitting_again_changes_nothing(broker: Broker) -> None:
    new = NewJob("test", {"n": 1})
    assert broker.submit(new).created
    again = broker.submit(replace(new, payload={"n": 2}))
    assert again.id == new.id
    assert not again.created
    take(broker)
    assert not broker.submit(new).created
    assert broker.claim(want()) == []
    assert job(broker, new.id).payload == {"n": 1}


def test_one_job_per_key(broker: Broker) -> None:
    first = broker.submit(NewJob("test", 1, key="deploy 7"))
    second = broker.submit(NewJob("test", 2, key="deploy 7"))
    assert (first.created, second.created) == (True, False)
    assert first.id == second.id
    lease = take(broker)
    broker.finish(lease, Outcome())
    assert broker.submit(NewJob("test", 3, key="deploy 7")).id == first.id, "also when it is done"
    assert broker.submit(NewJob("test", 4, key="deploy 8")).created
    assert broker.clean(-1.0) == 1
    assert broker.submit(NewJob("test", 5, key="deploy 7")).created, "until it is cleaned away"


def test_a_full_lane_refuses_and_drops_nothing(lab: Lab) -> None:
    broker = lab.open(SETTINGS._replace(max_depth=3))
    ids = [submit(broker), submit(broker, delay=60.0), submit(broker)]
    with pytest.raises(QueueFullError, match="any is full: 3 jobs") as error:
        submit(broker)
    assert (error.value.lane, error.value.limit) == ("any", 3)
    assert broker.submit(NewJob("test", target=Target(role="other"))).created, "others have their own"
    assert not broker.submit(NewJob("test", id=ids[0])).created, "what is there already is not refused"
    take(broker)
    submit(broker)
    assert sum(lane.depth for lane in broker.stats() if lane.lane == "any") == 3


def test_many_are_submitted_all_or_none(lab: Lab) -> None:
    broker = lab.open(SETTINGS._replace(max_depth=3))
    submit(broker)
    with pytest.raises(QueueFullError):
        broker.submit_many([NewJob("test") for _ in range(3)])
    assert broker.stats()[0].depth == 1
    told = broker.submit_many([NewJob("test") for _ in range(2)])
    assert [each.created for each in told] == [True, True]
    assert [take(broker).id for _ in range(3)][1:] == [each.id for each in told], "in their order"
    assert broker.submit_many([]) == ()


def test_stats_count_what_a_lane_holds(lab: Lab) -> None:
    broker = lab.open()
    assert broker.stats() == []
    first = submit(broker, priority=-1)
    submit(broker, priority=5)
    submit(broker, delay=60.0)
    submit(broker, after=(first,))
    submit(broker, target=Target(role="b"))
    lease = take(broker)
    by_lane = {lane.lane: lane for lane in broker.stats()}
    assert list(by_lane) == ["any", "r:b"]
    found = by_lane["any"]
    assert (found.queued, found.delayed, found.blocked, found.leased, found.depth) == (1, 1, 1, 1, 3)
    assert found.oldest_age is not None
    assert 0 <= found.oldest_age < 60
    broker.release(lease)
    assert broker.stats()[0].leased == 0


def test_taking_a_job_by_its_name(broker: Broker) -> None:
    submit(broker)
    wanted = submit(broker, target=Target(role="elsewhere"), delay=60.0)
    lease = broker.take(wanted, want())
    assert lease
    assert lease.id == wanted
    assert broker.take(wanted, want("w2")) is None
    with pytest.raises(UnknownJobError):
        broker.take("1_nobody", want())


def test_an_unknown_job(broker: Broker) -> None:
    assert broker.job("1_none") is None
    for call in (broker.result, broker.cancel, broker.need):
        with pytest.raises(UnknownJobError, match="no job 1_none"):
            call("1_none")


def test_events_tell_the_life_of_a_job(broker: Broker) -> None:
    id_ = broker.submit(NewJob("test", target=Target(role="r"))).id
    lease = broker.claim(worker_of("r"))[0]
    broker.finish(lease, Outcome())
    assert kinds(broker, id_) == ["job_submitted", "job_claimed", "job_done"]
