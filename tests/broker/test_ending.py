"""Cancelling, dead letters, what needs what, and forgetting."""

from __future__ import annotations

import pytest

from paneview.broker import ALL, Broker, JobFilter, JobState, NewJob, Outcome, Target, Verdict
from paneview.broker.model import Json
from tests.broker.helpers import fail, job, kinds, state, submit, take, want
from tests.broker.labs import SETTINGS, Lab


def done(broker: Broker, id_: str) -> None:
    """Do a job that can be claimed."""
    lease = broker.take(id_, want())
    assert lease
    broker.finish(lease, Outcome())


class TestCancel:
    @pytest.mark.parametrize("fields", [{}, {"delay": 60.0}])
    def test_a_waiting_job_ends(self, broker: Broker, fields: dict[str, float]) -> None:
        id_ = submit(broker, **fields)
        assert broker.cancel(id_, "changed my mind") == "cancelled"
        assert state(broker, id_) == "cancelled"
        result = broker.result(id_)
        assert result
        assert (result.status, result.error, result.started_at) == ("cancelled", "changed my mind", None)
        assert broker.cancel(id_) == "over"
        assert broker.claim(want()) == []
        assert broker.stats() == []

    def test_a_running_job_is_ended_by_its_holder(self, broker: Broker) -> None:
        id_ = submit(broker)
        lease = take(broker)
        assert broker.cancel(id_, "enough") == "requested"
        assert job(broker, id_).cancel == "enough"
        assert broker.renew([lease]) == ["cancel"]
        told = broker.finish(lease, Outcome("cancelled", output="half", error="ended"))
        assert (told.verdict, told.state) == (Verdict.ACCEPTED, "cancelled")
        result = broker.result(id_)
        assert result
        assert (result.status, result.output, result.worker) == ("cancelled", "half", "w1")
        assert broker.finish(lease, Outcome()).verdict is Verdict.STALE

    @pytest.mark.parametrize("output", ["", None, 0, False, [], {}, "\0"])
    def test_what_a_result_holds_comes_back_as_it_was(self, broker: Broker, output: Json) -> None:
        submit(broker)
        lease = take(broker)
        broker.finish(lease, Outcome(output=output))
        result = broker.result(lease.id)
        assert result
        assert (repr(result.output), result.error) == (repr(output), None)

    def test_it_comes_too_late_for_a_result(self, broker: Broker) -> None:
        id_ = submit(broker)
        lease = take(broker)
        broker.cancel(id_)
        assert broker.finish(lease, Outcome(output=1)).state == "done"
        assert broker.cancel(id_) == "over"

    def test_a_failure_or_a_hand_back_ends_it(self, broker: Broker) -> None:
        for end in (fail, broker.release):
            id_ = submit(broker)
            lease = take(broker)
            broker.cancel(id_, "enough")
            end(broker, lease) if end is fail else end(lease)
            found = job(broker, id_)
            assert (found.state, found.cancel) == ("cancelled", "enough")

    def test_so_does_the_holders_death(self, lab: Lab) -> None:
        broker = lab.open()
        ids = [submit(broker), submit(broker)]
        take(broker, "w1", seconds=30.0)
        take(broker, "w2", seconds=30.0)
        for id_ in ids:
            broker.cancel(id_)
        broker.release_owner("w1", "killed")
        lab.age(31.0)
        broker.reap()
        assert [state(broker, id_) for id_ in ids] == ["cancelled", "cancelled"]

    def test_a_worker_may_cancel_by_itself(self, broker: Broker) -> None:
        id_ = submit(broker)
        assert broker.finish(take(broker), Outcome("cancelled")).state == "cancelled"
        assert job(broker, id_).cancel == "by its worker"


class TestDeadLetters:
    def test_they_are_listed_with_every_error(self, broker: Broker) -> None:
        ids = [submit(broker, max_attempts=1) for _ in range(3)]
        for _ in ids:
            fail(broker, take(broker), "broken")
        dead = broker.dead()
        assert [each.id for each in dead] == ids[::-1]
        assert [each.errors[0].error for each in dead] == ["broken"] * 3
        assert [each.id for each in broker.dead(limit=1)] == [ids[2]]
        assert [each.id for each in broker.dead(ALL)] == ids[::-1]

    def test_sent_again_with_all_attempts_before_them(self, broker: Broker) -> None:
        ids = [submit(broker, max_attempts=1, target=Target(role="r"), priority=3) for _ in range(3)]
        role = want(lanes=("r:r",))
        for _ in ids:
            fail(broker, broker.claim(role)[0])
        assert broker.retry([ids[1], "1_nobody"]) == [ids[1]]
        lease = broker.claim(role)[0]
        assert (lease.id, lease.attempt, lease.token) == (ids[1], 1, 2)
        assert lease.job.errors
        assert broker.result(ids[1]) is None
        broker.finish(lease, Outcome())
        assert broker.retry([]) == []
        assert sorted(broker.retry()) == sorted([ids[0], ids[2]])
        assert broker.dead() == []
        assert kinds(broker, ids[0])[-1] == "dead_retried"

    def test_purged(self, broker: Broker) -> None:
        ids = [submit(broker, max_attempts=1, key=f"k{n}") for n in range(3)]
        for _ in ids:
            fail(broker, take(broker))
        other = submit(broker)
        assert broker.purge([ids[0], other]) == [ids[0]]
        assert broker.purge([]) == []
        assert sorted(broker.purge()) == sorted(ids[1:])
        assert broker.job(ids[0]) is None
        assert state(broker, other) == "queued"
        assert broker.submit(NewJob("test", key="k0")).created


class TestNeeds:
    def test_a_job_waits_until_all_it_needs_are_done(self, broker: Broker) -> None:
        first, second = submit(broker), submit(broker)
        third = submit(broker, after=(first, second), priority=9)
        assert state(broker, third) == "blocked"
        done(broker, first)
        assert state(broker, third) == "blocked"
        assert broker.take(third, want()) is None
        done(broker, second)
        assert state(broker, third) == "queued"
        assert take(broker).id == third

    def test_what_is_done_already_is_no_hindrance(self, broker: Broker) -> None:
        first = submit(broker)
        done(broker, first)
        assert state(broker, submit(broker, after=(first, first))) == "queued"

    def test_named_twice_is_needed_once(self, broker: Broker) -> None:
        first = submit(broker)
        second = submit(broker, after=(first, first))
        done(broker, first)
        assert state(broker, second) == "queued"

    def test_a_delay_counts_from_the_submission(self, lab: Lab) -> None:
        broker = lab.open()
        first = submit(broker)
        second = submit(broker, after=(first,), delay=60.0)
        done(broker, first)
        assert state(broker, second) == "delayed"
        lab.age(61.0)
        assert take(broker).id == second

    def test_a_graph_in_one_submission_and_in_order(self, broker: Broker) -> None:
        top = NewJob("test", "top", group="wf")
        sides = [NewJob("test", side, after=(top.id,), group="wf") for side in ("left", "right")]
        end = NewJob("test", "end", after=tuple(side.id for side in sides), group="wf")
        broker.submit_many([top, *sides, end])
        order = []
        while leases := broker.claim(want(n=5)):
            order.append({lease.job.payload for lease in leases})
            for lease in leases:
                broker.finish(lease, Outcome())
        assert order == [{"top"}, {"left", "right"}, {"end"}]
        group = broker.jobs(JobFilter(group="wf"))
        assert [each.payload for each in group] == ["end", "right", "left", "top"]

    @pytest.mark.parametrize("how", ["dies", "is cancelled"])
    def test_it_is_cancelled_with_what_it_needs(self, broker: Broker, how: str) -> None:
        first = submit(broker)
        second = submit(broker, after=(first,))
        third = submit(broker, after=(second,))
        if how == "dies":
            fail(broker, take(broker), retry=False)
        else:
            broker.cancel(first)
        assert [state(broker, each) for each in (second, third)] == ["cancelled", "cancelled"]
        result = broker.result(second)
        assert result
        assert first in (result.error or "")
        assert broker.stats() == []
        assert state(broker, submit(broker, after=(first,))) == "cancelled"
        assert state(broker, submit(broker, after=("1_nobody",))) == "cancelled"

    def test_long_chains_fall_together(self, broker: Broker) -> None:
        jobs = [NewJob("test")]
        for _ in range(40 if broker.url.startswith("dir") else 400):  # each is a few files there
            jobs.append(NewJob("test", after=(jobs[-1].id,)))
        broker.submit_many(jobs)
        broker.cancel(jobs[0].id)
        assert broker.stats() == []
        assert state(broker, jobs[-1].id) == "cancelled"

    def test_cancelling_one_of_several_frees_nobody(self, broker: Broker) -> None:
        first = submit(broker)
        second = submit(broker, after=(first,))
        broker.cancel(second)
        done(broker, first)
        assert state(broker, second) == "cancelled"

    def test_follow_ups_come_with_the_result(self, broker: Broker) -> None:
        id_ = submit(broker)
        waiting = NewJob("test", "waiting", after=(id_,))
        broker.submit(waiting)
        lease = take(broker)
        one = NewJob("test", "one", key="one")
        two = NewJob("test", "two", after=(one.id, id_))
        told = broker.finish(lease, Outcome(), follow_ups=[one, two], claim=want(n=5))
        assert [each.id for each in told.follow_ups] == [one.id, two.id]
        assert [each.job.payload for each in told.leases] == ["waiting", "one"]
        assert state(broker, two.id) == "blocked"

    def test_no_follow_ups_without_success(self, broker: Broker) -> None:
        submit(broker)
        told = broker.finish(
            take(broker), Outcome("error", error="x", retry=False), follow_ups=[NewJob("test")]
        )
        assert told.follow_ups == ()
        assert broker.stats() == []

    def test_follow_ups_are_never_refused(self, lab: Lab) -> None:
        broker = lab.open(SETTINGS._replace(max_depth=2))
        submit(broker)
        lease = take(broker)
        told = broker.finish(lease, Outcome(), follow_ups=[NewJob("test") for _ in range(5)])
        assert [each.created for each in told.follow_ups] == [True] * 5
        assert broker.stats()[0].depth == 5


class TestForgetting:
    def test_clean_takes_what_is_old_and_over(self, lab: Lab) -> None:
        broker = lab.open()
        old = [submit(broker, key=f"k{number}") for number in range(3)]
        done(broker, old[0])
        broker.cancel(old[1])
        lease = broker.take(old[2], want())
        assert lease
        fail(broker, lease, retry=False)
        lab.age(1000.0)
        young, waiting = submit(broker), submit(broker)
        done(broker, young)
        assert broker.clean(500.0) == 2
        assert [broker.job(each) is None for each in (*old, young, waiting)] == [
            True,
            True,
            False,
            False,
            False,
        ]
        assert broker.clean(500.0) == 0
        assert broker.clean(-1.0) == 1

    def test_a_job_that_needs_itself_is_cancelled(self, broker: Broker) -> None:
        submit(broker, id="me", after=("me",))
        assert state(broker, "me") == "cancelled"

    def test_clean_does_no_harm_to_a_job_that_needed_it_and_waits_for_another(self, broker: Broker) -> None:
        first, second = submit(broker), submit(broker)
        waiting = submit(broker, after=(first, second))
        done(broker, first)
        broker.clean(-1.0)
        broker.reap()
        assert state(broker, waiting) == "blocked"
        done(broker, second)
        assert state(broker, waiting) == "queued"
        done(broker, waiting)
        broker.clean(-1.0)
        assert broker.jobs(JobFilter()) == []

    def test_many(self, lab: Lab) -> None:
        broker = lab.open()
        many = 30 if broker.url.startswith("dir") else 410  # more than one step; files take their time
        broker.submit_many([NewJob("test") for _ in range(many)])
        for lease in broker.claim(want(n=many)):
            broker.finish(lease, Outcome())
        assert broker.clean(-1.0) == many
        assert broker.jobs(JobFilter()) == []


class TestListing:
    def test_newest_first_and_by_what_is_asked(self, broker: Broker) -> None:
        plain = submit(broker, kind="ping")
        role = submit(broker, target=Target(role="r", host="pi"))
        task = submit(broker, target=Target(task="web"), delay=60.0)
        leased = submit(broker, priority=9)
        lease = take(broker)
        assert lease.id == leased
        cancelled = submit(broker)
        broker.cancel(cancelled)

        def ids(**fields: object) -> list[str]:
            return [each.id for each in broker.jobs(JobFilter(**fields))]  # type: ignore[arg-type]

        assert ids() == [cancelled, leased, task, role, plain]
        assert ids(limit=2) == [cancelled, leased]
        assert ids(kind="ping") == [plain]
        assert ids(role="r") == [role]
        assert ids(host="pi") == [role]
        assert ids(lane="any") == [cancelled, leased, plain]
        assert ids(task="web") == [task]
        assert ids(states=frozenset({JobState.QUEUED})) == [role, plain]
        assert ids(states=frozenset({JobState.LEASED, JobState.DELAYED})) == [leased, task]
        assert ids(states=frozenset({JobState.CANCELLED, JobState.QUEUED})) == [cancelled, role, plain]
        assert ids(states=frozenset({JobState.DEAD})) == []

    def test_pages_are_put_together(self, broker: Broker) -> None:
        many = 230
        told = broker.submit_many([NewJob("even" if number % 2 else "odd") for number in range(many)])
        wanted = [each.id for each in told[::-1]]
        assert [each.id for each in broker.jobs(JobFilter(limit=ALL))] == wanted
        assert [each.id for each in broker.jobs(JobFilter(limit=110, kind="even"))] == wanted[::2][:110]
        queued = JobFilter(states=frozenset({JobState.QUEUED}), limit=7)
        assert [each.id for each in broker.jobs(queued)] == wanted[:7]
