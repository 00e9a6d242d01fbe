"""Workers, leaders, flags, events, and waiting for things."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

import pytest

from paneview.broker import (
    ALL,
    Broker,
    NewJob,
    Outcome,
    Registration,
    StaleLeaderError,
    Target,
    UnknownJobError,
    lanes_of,
)
from paneview.broker.waiting import SPARE_BELLS, Bell
from tests.broker.helpers import ANYBODY, Later, job, state, submit, take, want
from tests.broker.labs import Lab
from tests.harness import wait_until

DAY = 86_400.0
QUICK = 0.9  # seconds: less than the look behind, so that it was the bell that woke


class TestWorkers:
    def test_they_are_listed_with_what_they_hold(self, broker: Broker) -> None:
        broker.workers.register(
            Registration(
                "a1", "web", "pi", 4711, ("review", "plan"), pane="%3", concurrency=2, meta={"version": "1"}
            )
        )
        broker.workers.register(Registration("b1", roles=("work",)))
        id_ = submit(broker)
        take(broker, "a1")
        views = {view.worker.id: view for view in broker.workers.all()}
        assert set(views) == {"a1", "b1"}
        found = views["a1"]
        assert found.worker == Registration(
            "a1", "web", "pi", 4711, ("review", "plan"), pane="%3", concurrency=2, meta={"version": "1"}
        )
        assert found.alive
        assert not found.quarantined
        assert found.jobs == (id_,)
        assert 0 <= found.beat_age < 30
        assert found.started_at > 1_500_000_000
        assert [view.worker.id for view in broker.workers.all(role="plan")] == ["a1"]
        assert [view.worker.id for view in broker.workers.all(host="pi")] == ["a1"]

    def test_what_other_versions_have_registered_is_read(
        self, broker: Broker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = Registration("a1", "web", "pi", 4711, ("review",), start=17, boot="b", pids="p")
        earlier = {
            name: value for name, value in asdict(worker).items() if name not in ("start", "boot", "pids")
        }
        for fields, read in (
            (earlier, replace(worker, start=0, boot="", pids="")),
            (asdict(worker) | {"later": 1}, worker),
        ):
            for kind in ("sqlite", "redis", "directory"):
                monkeypatch.setattr(
                    f"paneview.broker.{kind}.registry.asdict", lambda _, fields=fields: fields
                )
            broker.workers.register(worker)
            assert broker.workers.beat("a1")
            assert [view.worker for view in broker.workers.all()] == [read]
            broker.reap()
            broker.workers.leave("a1")
            broker.reap()

    def test_one_that_falls_silent_is_lost_and_may_come_back(self, lab: Lab) -> None:
        broker = lab.open()
        broker.workers.register(Registration("a1", ttl=60.0))
        broker.workers.register(Registration("b1", ttl=600.0))
        lab.age(50.0)
        assert broker.workers.beat("a1")
        lab.age(50.0)
        assert broker.reap().workers_lost == ()
        lab.age(11.0)
        assert not {view.worker.id: view for view in broker.workers.all()}["a1"].alive
        assert broker.reap().workers_lost == ("a1",)
        assert broker.reap().workers_lost == ()
        assert [view.worker.id for view in broker.workers.all(alive_only=True)] == ["b1"]
        assert not broker.workers.beat("a1")
        broker.workers.register(Registration("a1"))
        assert broker.workers.beat("a1")
        assert [event.kind for event in broker.events.read().events if event.worker == "a1"] == [
            "worker_started",
            "heartbeat_missed",
            "worker_started",
        ]

    def test_one_that_has_left_was_not_silent(self, lab: Lab) -> None:
        broker = lab.open()
        broker.workers.register(Registration("a1", ttl=60.0))
        lab.age(50.0)
        assert broker.workers.beat("a1")
        lab.age(20.0)
        broker.workers.leave("a1", "all done")
        (view,) = broker.workers.all()
        assert not view.alive
        assert view.beat_age < 60

    def test_one_that_was_silent_and_is_ended_before_anybody_reaps_has_missed_its_heartbeat(
        self, lab: Lab
    ) -> None:
        broker = lab.open()
        broker.workers.register(Registration("a1", ttl=60.0))
        broker.workers.register(Registration("b1", ttl=60.0))
        lab.age(50.0)
        broker.workers.leave("b1", "asked to")
        lab.age(11.0)
        broker.workers.leave("a1", "its process died")
        assert broker.reap().workers_lost == ()
        found = broker.events.read().events
        assert [event.kind for event in found if event.worker == "b1"] == ["worker_started", "worker_stopped"]
        assert [event.kind for event in found if event.worker == "a1"] == [
            "worker_started",
            "heartbeat_missed",
            "worker_stopped",
        ]

    def test_one_that_leaves_stays_listed_for_a_day(self, lab: Lab) -> None:
        broker = lab.open()
        broker.workers.register(Registration("a1"))
        broker.workers.leave("a1", "asked to")
        broker.workers.leave("a1")
        assert not broker.workers.beat("a1")
        assert not broker.workers.beat("nobody")
        (view,) = broker.workers.all()
        assert not view.alive
        lab.age(90_000.0)
        broker.reap()
        assert broker.workers.all() == []

    @pytest.mark.parametrize(
        ("worker", "heir"),
        [
            (Registration("a1", "web", roles=("r",)), "t:web"),
            (Registration("a1", roles=("r", "s")), "r:r"),
            (Registration("a1"), "any"),
        ],
    )
    def test_jobs_for_a_dead_worker_are_readdressed(
        self, broker: Broker, worker: Registration, heir: str
    ) -> None:
        broker.workers.register(worker)
        ids = [submit(broker, target=Target(worker="a1")) for _ in range(2)]
        held = broker.claim(want("a1", lanes=("w:a1",)))[0]
        broker.workers.leave("a1", "killed")
        assert broker.reap().readdressed == 1
        assert job(broker, ids[1]).lane == heir
        assert [lane.lane for lane in broker.stats() if lane.queued] == [heir]
        broker.release_owner("a1", "killed")
        assert held.id == ids[0]
        broker.reap()
        lanes = (heir,)
        assert {lease.id for lease in broker.claim(want("b1", n=5, lanes=lanes))} == set(ids)

    def test_so_are_those_that_become_due_long_after_it_died(self, lab: Lab) -> None:
        broker = lab.open()
        broker.workers.register(Registration("a1", "web"))
        first = submit(broker)
        late = submit(broker, target=Target(worker="a1"), delay=3 * DAY)
        blocked = submit(broker, target=Target(worker="a1"), after=(first,))
        broker.workers.leave("a1")
        for _ in range(2):
            broker.reap()
            lab.age(2 * DAY)
        broker.finish(take(broker), Outcome())
        broker.reap()
        assert {lease.id for lease in broker.claim(want("b1", n=5, lanes=("t:web",)))} == {late, blocked}
        broker.reap()
        assert broker.workers.all() == []

    def test_quarantine_is_by_name_and_for_people_to_end(self, broker: Broker) -> None:
        broker.workers.register(Registration("a1", "web"))
        broker.workers.register(Registration("b1", "db"))
        broker.workers.quarantine("web", "5 deaths in 300 s", detail={"deaths": 5})
        assert broker.workers.quarantined() == {"web": {"reason": "5 deaths in 300 s", "deaths": 5}}
        assert {view.worker.id: view.quarantined for view in broker.workers.all()} == {
            "a1": True,
            "b1": False,
        }
        assert broker.workers.unquarantine("web")
        assert not broker.workers.unquarantine("web")
        assert broker.workers.quarantined() == {}
        kinds = [event.kind for event in broker.events.tail(2).events]
        assert kinds == ["worker_quarantined", "worker_unquarantined"]

    def test_a_quarantined_worker_says_nothing_of_another_hosts_of_that_name(self, broker: Broker) -> None:
        broker.workers.register(Registration("a1", "web", "a"))
        broker.workers.register(Registration("b1", "web", "b"))
        kept_down = lambda: {view.worker.id for view in broker.workers.all() if view.quarantined}  # noqa: E731
        broker.workers.quarantine("web", "5 deaths", host="a")
        assert broker.workers.quarantined() == {"web": {"reason": "5 deaths", "host": "a"}}
        assert kept_down() == {"a1"}
        broker.workers.quarantine("web", "6 deaths", host="b")
        assert set(broker.workers.quarantined()) == {"web@a", "web@b"}
        assert kept_down() == {"a1", "b1"}
        assert broker.workers.unquarantine("web", host="b")  # its supervisor has started it again
        assert not broker.workers.unquarantine("web@b")
        assert kept_down() == {"a1"}
        broker.workers.quarantine("web", "7 deaths", host="b")
        assert broker.workers.unquarantine("web@a")
        assert kept_down() == {"b1"}
        assert broker.workers.unquarantine("web")  # as a person says it, wherever that is
        assert kept_down() == set()


class TestFlags:
    def test_the_last_value_counts(self, broker: Broker) -> None:
        broker.flags.set("runner", "claude / opus", {"until": 1})
        broker.flags.set("runner", "claude / opus", {"until": 2, "why": "rate limit"})
        broker.flags.set("other", "claude", {})
        assert broker.flags.all("runner") == {"claude / opus": {"until": 2, "why": "rate limit"}}
        assert broker.flags.all("none") == {}
        assert broker.flags.clear("runner", "claude / opus")
        assert not broker.flags.clear("runner", "claude / opus")

    def test_they_run_out(self, lab: Lab) -> None:
        broker = lab.open()
        broker.flags.set("runner", "claude", {"a": 1}, ttl=60.0)
        lab.age(59.0)
        assert broker.flags.all("runner") == {"claude": {"a": 1}}
        lab.age(2.0)
        assert broker.flags.all("runner") == {}
        broker.reap()
        assert not broker.flags.clear("runner", "claude")


class TestLeaders:
    def test_one_at_a_time(self, lab: Lab) -> None:
        broker = lab.open()
        first = broker.lead("reaper", "s1", 60.0)
        assert first
        assert broker.lead("reaper", "s2", 60.0) is None
        assert broker.lead("reaper", "s1", 60.0) == first
        assert broker.lead("other", "s2", 60.0)
        lab.age(61.0)
        second = broker.lead("reaper", "s2", 60.0)
        assert second
        assert second.epoch > first.epoch
        assert broker.lead("reaper", "s1", 60.0) is None

    def test_resigning_makes_room(self, broker: Broker) -> None:
        first = broker.lead("reaper", "s1", 60.0)
        assert first
        broker.resign(first)
        second = broker.lead("reaper", "s2", 60.0)
        assert second
        broker.resign(first)
        assert broker.lead("reaper", "s3", 60.0) is None

    def test_a_leader_who_slept_can_do_no_harm(self, lab: Lab) -> None:
        broker = lab.open()
        first = broker.lead("reaper", "s1", 60.0)
        assert first
        broker.reap(first)
        lab.age(61.0)
        broker.reap(first)  # nobody came after: still its to do
        second = broker.lead("reaper", "s2", 60.0)
        with pytest.raises(StaleLeaderError, match="s1 is not the leader"):
            broker.reap(first)
        broker.reap(second)

    def test_reaping_works_without_a_leader_and_says_what_it_did(self, lab: Lab) -> None:
        broker = lab.open()
        ids = [submit(broker) for _ in range(2)]
        broker.claim(want(n=2, seconds=30.0))
        submit(broker, delay=20.0)
        lab.age(31.0)
        done = broker.reap()
        assert sorted(done.expired) == sorted(ids)
        assert not done.more
        assert broker.reap().expired == ()
        assert len(broker.claim(want(n=5))) == 3


class TestEvents:
    def test_they_are_read_on_from_a_cursor(self, broker: Broker) -> None:
        submit(broker)
        first = broker.events.read()
        assert [event.kind for event in first.events] == ["job_submitted"]
        assert broker.events.read(first.cursor).events == ()
        broker.events.note("pane_respawned", worker="a1", detail={"pane": "%3"})
        second = broker.events.read(first.cursor)
        (event,) = second.events
        assert (event.kind, event.worker, event.detail) == ("pane_respawned", "a1", {"pane": "%3"})
        assert abs(event.ts - time.time()) < 60
        assert broker.events.read(second.cursor).events == ()

    def test_pages_have_no_gap(self, broker: Broker) -> None:
        for number in range(25):
            broker.events.note("n", detail={"number": number})
        seen, cursor = [], ""
        while (page := broker.events.read(cursor, limit=10)).events:
            assert len(page.events) <= 10
            seen += [event.detail["number"] for event in page.events]
            cursor = page.cursor
        assert seen == list(range(25))
        assert [event.detail["number"] for event in broker.events.tail(3).events] == [22, 23, 24]
        assert [event.detail["number"] for event in broker.events.tail(ALL).events] == seen
        assert broker.events.read(broker.events.tail(3).cursor).events == ()

    def test_one_that_comes_wakes_who_waits(self, lab: Lab) -> None:
        broker, other = lab.open(), lab.open()
        other.events.note("first")
        cursor = broker.events.tail(1).cursor
        assert broker.events.wait(cursor, 0.05).events == ()
        waiting = Later(lambda: broker.events.wait(cursor, 20.0))
        other.events.note("second")
        assert [event.kind for event in waiting.result().events] == ["second"]


class TestWaiting:
    def asleep(self, later: Later[object]) -> None:
        """It has had time to go to sleep; if it has not, the test is only weaker."""
        end = time.monotonic() + 0.3
        wait_until(lambda: time.monotonic() > end)
        assert not later.over

    def test_a_submit_wakes_a_worker_at_once(self, lab: Lab) -> None:
        broker, other = lab.open(), lab.open()
        lanes = lanes_of("w1", ["r"])
        waiting = Later(lambda: (broker.claim(want(lanes=lanes), wait=20.0), time.monotonic()))
        self.asleep(waiting)
        began = time.monotonic()
        id_ = submit(other, target=Target(role="r"))
        leases, woken = waiting.result()
        assert [lease.id for lease in leases] == [id_]
        assert woken - began < QUICK

    def test_so_does_a_hand_back_and_a_follow_up(self, lab: Lab) -> None:
        broker, other = lab.open(), lab.open()
        id_ = submit(other)
        lease = take(other)
        waiting = Later(lambda: broker.claim(want("w2"), wait=20.0))
        self.asleep(waiting)
        other.release(lease)
        (mine,) = waiting.result()
        assert mine.id == id_
        waiting = Later(lambda: other.claim(want("w3"), wait=20.0))
        self.asleep(waiting)
        follow = NewJob("test")
        broker.finish(mine, Outcome(), follow_ups=[follow])
        assert [lease.id for lease in waiting.result()] == [follow.id]

    def test_every_sleeper_gets_one_of_several_jobs(self, lab: Lab) -> None:
        brokers = [lab.open() for _ in range(3)]
        waiting = [Later(lambda b=b, n=n: b.claim(want(f"w{n}"), wait=20.0)) for n, b in enumerate(brokers)]
        self.asleep(waiting[0])
        ids = {each.id for each in lab.open().submit_many([NewJob("test") for _ in range(3)])}
        assert {lease.id for later in waiting for lease in later.result()} == ids

    def test_what_falls_due_needs_no_bell(self, lab: Lab) -> None:
        broker = lab.open()
        began = time.monotonic()
        id_ = submit(broker, delay=0.3)
        assert [lease.id for lease in broker.claim(want(), wait=20.0)] == [id_]
        assert 0.25 < time.monotonic() - began < 5

    def test_nor_does_a_lease_that_runs_out(self, lab: Lab) -> None:
        broker, other = lab.open(), lab.open()
        id_ = submit(broker)
        take(broker, "w1", seconds=0.4)
        assert [lease.id for lease in other.claim(want("w2"), wait=20.0)] == [id_]

    def test_it_gives_up_in_time(self, broker: Broker) -> None:
        began = time.monotonic()
        assert broker.claim(want(), wait=0.2) == []
        assert 0.19 < time.monotonic() - began < 5

    def test_a_wait_is_ended_by_wake(self, broker: Broker) -> None:
        waits = [
            Later(lambda: broker.claim(want(), wait=60.0)),
            Later(lambda: broker.events.wait(broker.events.tail(1).cursor, 60.0)),
        ]
        self.asleep(waits[0])
        wait_until(lambda: broker.wake() or waits[0].over)
        wait_until(lambda: broker.wake() or waits[1].over)
        assert waits[0].result() == []
        id_ = submit(broker)
        assert take(broker).id == id_, "it is as good as before"

    def test_a_result_wakes_all_who_wait_for_it(self, lab: Lab) -> None:
        broker = lab.open()
        id_ = submit(broker)
        lease = take(broker)
        waiting = [Later(lambda: lab.open().wait_result(id_, 20.0)) for _ in range(2)]
        self.asleep(waiting[0])
        began = time.monotonic()
        broker.finish(lease, Outcome(output="here"))
        for later in waiting:
            result = later.result()
            assert result
            assert result.output == "here"
        assert time.monotonic() - began < QUICK
        assert broker.wait_result(id_, 0.0) == broker.result(id_)

    def test_also_a_bad_end(self, lab: Lab) -> None:
        broker, other = lab.open(), lab.open()
        id_ = submit(broker)
        waiting = Later(lambda: other.wait_result(id_, 20.0))
        self.asleep(waiting)
        broker.cancel(id_, "no")
        result = waiting.result()
        assert result
        assert (result.status, result.error) == ("cancelled", "no")

    def test_a_result_that_does_not_come(self, broker: Broker) -> None:
        id_ = submit(broker)
        assert broker.wait_result(id_, 0.1) is None
        with pytest.raises(UnknownJobError):
            broker.wait_result("1_nobody", 0.1)

    def test_a_worker_keeps_its_bell_whatever_else_was_waited_for(self, broker: Broker) -> None:
        def wait_for_work() -> Bell:
            assert broker.claim(want(), wait=0.01) == []
            return broker.bells._spare[ANYBODY]

        for _ in range(SPARE_BELLS):
            broker.wait_result(submit(broker, target=Target(role="slow")), 0.01)
        first = wait_for_work()
        assert wait_for_work() is first
        assert len(broker.bells._spare) == SPARE_BELLS

    def test_a_holder_hears_of_a_cancel_at_once(self, lab: Lab) -> None:
        broker, other = lab.open(), lab.open()
        ids = [submit(broker), submit(broker)]
        leases = broker.claim(want("w1", n=2))
        assert broker.hold(leases, 0.05) == ["held", "held"]
        waiting = Later(lambda: broker.hold(leases, 20.0))
        self.asleep(waiting)
        began = time.monotonic()
        other.cancel(ids[1])
        assert waiting.result() == ["held", "cancel"]
        assert time.monotonic() - began < QUICK
        assert state(broker, ids[1]) == "leased"
