"""Leases: held, renewed, given back, lost; and results that come late."""

from __future__ import annotations

import pytest

from paneview.broker import Backoff, Broker, NewJob, Outcome, Registration, Target, Verdict, lanes_of
from tests.broker.helpers import fail, job, kinds, state, submit, take, want
from tests.broker.labs import SETTINGS, Lab


def test_a_claim_gives_a_lease_with_a_growing_token(broker: Broker) -> None:
    id_ = submit(broker)
    first = take(broker, "w1", seconds=30.0)
    assert (first.owner, first.token, first.attempt, first.seconds) == ("w1", 1, 1, 30.0)
    found = job(broker, id_)
    assert (found.state, found.owner, found.token, found.attempts) == ("leased", "w1", 1, 1)
    assert found.leased_at is not None
    assert found.lease_until == pytest.approx(found.leased_at + 30, abs=2)
    assert broker.claim(want("w2")) == []
    broker.release(first)
    second = take(broker, "w2")
    assert (second.token, second.attempt) == (2, 1)


def test_a_renewed_lease_is_kept(lab: Lab) -> None:
    broker = lab.open()
    submit(broker)
    lease = take(broker, seconds=30.0)
    for _ in range(3):
        lab.age(20.0)
        assert broker.renew([lease]) == ["held"]
        assert broker.claim(want("w2")) == []


def test_a_silent_holder_loses_its_job(lab: Lab) -> None:
    broker = lab.open()
    id_ = submit(broker)
    lost = take(broker, "w1", seconds=30.0)
    lab.age(29.0)
    assert broker.claim(want("w2")) == []
    lab.age(2.0)
    taken = take(broker, "w2")
    assert (taken.id, taken.token, taken.attempt) == (id_, 2, 2)
    assert broker.renew([lost, taken]) == ["lost", "held"]
    (attempt,) = job(broker, id_).errors
    assert (attempt.number, attempt.token, attempt.worker) == (1, 1, "w1")
    assert "no sign for 30 s" in attempt.error
    assert kinds(broker, id_)[2] == "job_expired"


def test_a_stale_result_changes_nothing(lab: Lab) -> None:
    broker = lab.open()
    id_ = submit(broker)
    stale = take(broker, "w1", seconds=30.0)
    lab.age(31.0)
    fresh = take(broker, "w2")
    told = broker.finish(stale, Outcome(output="old"), follow_ups=[NewJob("test")])
    assert (told.verdict, told.state, told.follow_ups) == (Verdict.STALE, "leased", ())
    assert fail(broker, stale).verdict is Verdict.STALE
    assert broker.release(stale) is False
    assert broker.finish(fresh, Outcome(output="new")).verdict is Verdict.ACCEPTED
    assert broker.finish(stale, Outcome(output="old")).verdict is Verdict.STALE
    result = broker.result(id_)
    assert result
    assert (result.output, result.token, result.worker) == ("new", 2, "w2")


def test_a_late_result_counts_while_nobody_else_took_the_job(lab: Lab) -> None:
    broker = lab.open()
    id_ = submit(broker)
    late = take(broker, "w1", seconds=30.0)
    lab.age(31.0)
    broker.reap()
    assert state(broker, id_) == "queued"
    assert broker.finish(late, Outcome(output="late")).verdict is Verdict.ACCEPTED
    result = broker.result(id_)
    assert result
    assert (result.output, result.worker) == ("late", "w1")
    assert broker.claim(want()) == []
    assert broker.stats() == []


def test_a_late_result_revives_a_dead_letter(lab: Lab) -> None:
    broker = lab.open()
    id_ = submit(broker, max_attempts=1)
    late = take(broker, seconds=30.0)
    lab.age(31.0)
    broker.reap()
    assert state(broker, id_) == "dead"
    assert broker.finish(late, Outcome(output=1)).verdict is Verdict.ACCEPTED
    assert state(broker, id_) == "done"
    assert broker.dead() == []


def test_a_late_failure_was_told_already(lab: Lab) -> None:
    broker = lab.open()
    id_ = submit(broker)
    late = take(broker, seconds=30.0)
    lab.age(31.0)
    broker.reap()
    assert fail(broker, late).verdict is Verdict.ALREADY
    assert len(job(broker, id_).errors) == 1
    assert take(broker).id == id_


def test_a_result_brought_twice_is_no_error(broker: Broker) -> None:
    id_ = submit(broker)
    lease = take(broker)
    follow = NewJob("test", key="next")
    told = broker.finish(lease, Outcome(output=1), follow_ups=[follow])
    assert (told.verdict, told.state) == (Verdict.ACCEPTED, "done")
    assert [each.id for each in told.follow_ups] == [follow.id]
    again = broker.finish(lease, Outcome(output=2), follow_ups=[NewJob("test")])
    assert (again.verdict, again.state, again.follow_ups) == (Verdict.ALREADY, "done", ())
    result = broker.result(id_)
    assert result
    assert result.output == 1
    assert len(broker.claim(want(n=10))) == 1


def test_a_failure_brought_twice_is_no_error(broker: Broker) -> None:
    id_ = submit(broker)
    lease = take(broker)
    assert fail(broker, lease).verdict is Verdict.ACCEPTED
    assert fail(broker, lease).verdict is Verdict.ALREADY
    assert len(job(broker, id_).errors) == 1


def test_the_result_tells_everything(broker: Broker) -> None:
    id_ = submit(broker)
    assert broker.result(id_) is None
    lease = take(broker, "w9")
    assert broker.result(id_) is None
    broker.finish(lease, Outcome(output={"a": [1, None]}, host="pi"))
    result = broker.result(id_)
    assert result
    assert (result.job, result.status, result.output, result.error) == (id_, "ok", {"a": [1, None]}, None)
    assert (result.worker, result.host, result.token, result.attempt) == ("w9", "pi", 1, 1)
    assert result.started_at is not None
    assert 0 <= result.finished_at - result.started_at < 60
    assert job(broker, id_).result == result
    assert job(broker, id_).ended_at == result.finished_at


def test_handing_back_costs_no_attempt(lab: Lab) -> None:
    broker = lab.open()
    id_ = submit(broker, max_attempts=1)
    for number in range(1, 4):
        lease = take(broker)
        assert (lease.attempt, lease.token) == (1, number)
        assert broker.release(lease, reason="shutting down")
        assert not broker.release(lease)
    lease = take(broker)
    assert broker.release(lease, delay=60.0)
    assert state(broker, id_) == "delayed"
    assert broker.claim(want()) == []
    lab.age(61.0)
    assert take(broker).id == id_
    assert job(broker, id_).errors == ()


def test_what_a_dead_process_held_returns_at_once(broker: Broker) -> None:
    ids = [submit(broker) for _ in range(3)]
    other = submit(broker, priority=-1)
    held = broker.claim(want("w1", n=3))
    kept = take(broker, "w2")
    assert kept.id == other
    assert sorted(broker.release_owner("w1", "killed by signal 9")) == sorted(ids)
    assert broker.release_owner("w1", "killed by signal 9") == []
    assert [lease.id for lease in broker.claim(want("w3", n=5))] == ids
    assert broker.renew(held) == ["lost"] * 3
    assert broker.renew([kept]) == ["held"]
    (attempt,) = job(broker, ids[0]).errors
    assert (attempt.error, attempt.worker) == ("killed by signal 9", "w1")


def test_failures_back_off_then_the_job_is_dead(lab: Lab) -> None:
    broker = lab.open(SETTINGS._replace(backoff=Backoff(base=10.0, factor=3.0, jitter=0.0)))
    id_ = submit(broker, max_attempts=3)
    for number, delay in ((1, 10.0), (2, 30.0)):
        told = fail(broker, take(broker), f"failure {number}")
        assert (told.verdict, told.state) == (Verdict.ACCEPTED, "delayed")
        assert broker.result(id_) is None
        lab.age(delay - 1)
        assert broker.claim(want()) == []
        lab.age(2.0)
    told = fail(broker, take(broker), "failure 3")
    assert told.state == "dead"
    assert broker.claim(want()) == []
    found = job(broker, id_)
    assert [(each.number, each.token, each.error) for each in found.errors] == [
        (number, number, f"failure {number}") for number in (1, 2, 3)
    ]
    assert found.result
    assert (found.result.status, found.result.error) == ("error", "failure 3")
    assert kinds(broker, id_)[-2:] == ["job_claimed", "job_dead"]


def test_a_failure_may_say_when_and_whether_to_try_again(lab: Lab) -> None:
    broker = lab.open()
    id_ = submit(broker)
    assert fail(broker, take(broker), retry_in=0.0).state == "queued"
    assert fail(broker, take(broker), retry_in=500.0).state == "delayed"
    lab.age(501.0)
    assert fail(broker, take(broker), retry=False).state == "dead"
    hopeless = submit(broker, max_attempts=5)
    assert fail(broker, take(broker), retry=False).state == "dead"
    assert [each.id for each in broker.dead()] == [hopeless, id_]


def test_a_job_that_kills_its_workers_ends_as_a_dead_letter(broker: Broker) -> None:
    id_ = submit(broker, max_attempts=2)
    for number in (1, 2):
        take(broker, f"w{number}")
        broker.release_owner(f"w{number}", "killed")
    assert state(broker, id_) == "dead"
    assert [attempt.worker for attempt in job(broker, id_).errors] == ["w1", "w2"]
    result = broker.result(id_)
    assert result
    assert (result.status, result.error) == ("error", "killed")


def test_finishing_takes_the_next_jobs_in_the_same_step(broker: Broker) -> None:
    ids = [submit(broker) for _ in range(4)]
    told = broker.finish(take(broker), Outcome(), claim=want("w1", n=2))
    assert [lease.id for lease in told.leases] == ids[1:3]
    assert state(broker, ids[0]) == "done"
    last = broker.finish(told.leases[0], Outcome("error", error="x", retry=False), claim=want("w1"))
    assert [lease.id for lease in last.leases] == ids[3:]
    assert broker.finish(last.leases[0], Outcome(), claim=want("w1")).leases == ()


def test_also_after_a_stale_result(lab: Lab) -> None:
    broker = lab.open()
    submit(broker)
    stale = take(broker, "w1", seconds=30.0)
    lab.age(31.0)
    take(broker, "w2")
    other = submit(broker)
    told = broker.finish(stale, Outcome(), claim=want("w1"))
    assert told.verdict is Verdict.STALE
    assert [lease.id for lease in told.leases] == [other]


def test_a_job_that_was_purged_meanwhile(broker: Broker) -> None:
    submit(broker)
    lease = take(broker)
    fail(broker, lease, retry=False)
    broker.purge()
    told = broker.finish(lease, Outcome())
    assert (told.verdict, told.state) == (Verdict.STALE, None)
    assert broker.renew([lease]) == ["lost"]


def test_a_job_of_a_worker_that_is_gone_stays_with_its_heir(broker: Broker) -> None:
    """However often it is tried again: nobody takes from the lane of a worker that is gone."""
    heir = want("w2", lanes=lanes_of("w2", tasks=["web"]))
    broker.workers.register(Registration("w1", "web"))
    id_ = submit(broker, target=Target(worker="w1"), max_attempts=5)
    broker.workers.leave("w1")
    broker.reap()
    for end in (
        broker.release,
        lambda lease: fail(broker, lease, retry_in=0.0),
        lambda lease: broker.release_owner(lease.owner, "it died"),
        lambda lease: (fail(broker, lease, retry=False), broker.retry()),
    ):
        (lease,) = broker.claim(heir)
        assert lease.id == id_
        end(lease)
        assert [(lane.lane, lane.queued) for lane in broker.stats()] == [("t:web", 1)]
