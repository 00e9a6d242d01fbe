"""How jobs leave a state: ended with a result, given back, lost; and what that means for jobs that need them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress

from paneview.broker.directory.desk import Desk, Spec
from paneview.broker.directory.disk import (
    HOST,
    link,
    make_folder,
    may_be_gone,
    move,
    names,
    remove,
    sync,
    write,
)
from paneview.broker.directory.foreign import mirror, read_result, result_file
from paneview.broker.directory.layout import Spot
from paneview.broker.model import Attempt, Result
from paneview.rules.jobs import JobState, after_loss, after_needs

_STATUS = {
    JobState.LEASED: "in_progress",
    JobState.DONE: "completed",
    JobState.DEAD: "failed",
    JobState.CANCELLED: "failed",
}


def to_wait(desk: Desk, spec: Spec, source: str, target: Spot) -> bool:
    """Move a job to a waiting state; False if it was no longer there.

    The mirror for claude-queue is written first: afterwards, "pending" could overwrite what a quick worker wrote.
    """
    mirror(desk, spec, "pending")
    if move(source, desk.layout.path(target)):
        return True
    if found := desk.find(spec.id):  # another process was quicker: mirror the state the job has now
        mirror(desk, spec, _STATUS.get(found.state, "pending"))
    return False


def end(desk: Desk, spot: Spot, state: JobState, result: Result, *, follow_ups: Sequence[str] = ()) -> bool:
    """Move a job to a final state with its result; False if it was no longer there, and nothing changed."""
    if not commit(desk, spot, state, result, follow_ups=follow_ups):
        return False
    after_over(desk, spot.id)
    return True


def commit(
    desk: Desk,
    spot: Spot,
    state: JobState,
    result: Result,
    *,
    follow_ups: Sequence[str] = (),
    durable: bool = True,
) -> bool:
    """Like `end`, but without the consequences for other jobs."""
    spec = desk.spec(spot.id)
    # A unique path: several processes may deliver a result at the same time, and only one of them moves the job.
    brought = f"{desk.layout.brought(spot.id, spot.token, state)}{uuid.uuid4().hex}.json"
    desk.scratch.replace(brought, result_file(result, follow_ups), durable=durable)
    over = spot.moved(state)
    if not move(desk.layout.path(spot), desk.layout.path(over)) and not _was_us(desk, over):
        remove(brought)
        return False
    if durable:
        sync(os.path.dirname(desk.layout.path(over)))
    move(brought, desk.layout.result(over.id))
    remove(desk.layout.wish(over.id))
    detail = (
        {} if result.error is None else {"reason" if state is JobState.CANCELLED else "error": result.error}
    )
    desk.feed.tell(f"job_{state.value}", spot.id, result.worker, detail)
    if spec is not None:
        mirror(desk, spec, _STATUS[state])
        if spot.state is JobState.BLOCKED:
            _wait_no_more(desk, spec)
    return True


def _was_us(desk: Desk, over: Spot) -> bool:
    """Whether a move to ``done`` that was answered with "no such file" had worked, with its first answer lost.

    Only the holder of this token moves a job there under it; and if it had learned that before, there would be a
    result.
    """
    if over.state is not JobState.DONE or not os.path.exists(desk.layout.path(over)):
        return False
    return read_result(desk.layout.result(over.id)) is None


def publish(desk: Desk, over: Spot) -> None:
    """Give a result the name its readers know, if the process that moved the job did not get to it."""
    folder, prefix = os.path.split(desk.layout.brought(over.id, over.token, over.state))
    for name in names(folder):
        if name.startswith(prefix) and desk.is_file(f"{folder}/{name}"):
            link(f"{folder}/{name}", desk.layout.result(over.id))  # never replaces another result
            remove(f"{folder}/{name}")
    remove(desk.layout.wish(over.id))


def after_over(desk: Desk, job: str) -> None:
    """Unblock or cancel the jobs that waited for a job, then those that waited for a cancelled one, and so on."""
    ended = [job]
    while ended:
        folder = desk.layout.needs(ended.pop())
        for waiting in names(folder):
            if settle_one(desk, waiting) is JobState.CANCELLED:
                ended.append(waiting)
            remove(f"{folder}/{waiting}")
        # Another process may have added a job just now: then the folder stays, and that job's own `settle` handles it.
        with suppress(OSError):
            os.rmdir(folder)


def wait_for(desk: Desk, need: str, job: str) -> None:
    """Note that a job waits for another one."""
    folder = desk.layout.needs(need)
    for _ in range(100):
        make_folder(folder)
        with may_be_gone():  # removed just now by a process that found it empty
            write(f"{folder}/{job}", {}, durable=False)
            return


def _wait_no_more(desk: Desk, spec: Spec) -> None:
    for need in spec.after:
        remove(f"{desk.layout.needs(need)}/{spec.id}")
        with suppress(OSError):
            os.rmdir(desk.layout.needs(need))


def settle(desk: Desk, job: str) -> None:
    """Check whether a blocked job can be unblocked, or must be cancelled."""
    if settle_one(desk, job) is JobState.CANCELLED:
        after_over(desk, job)


def settle_one(desk: Desk, job: str) -> JobState | None:
    """Like `settle`, but without the consequences for other jobs; returns the new state, or None if unchanged."""
    spec, spot = desk.spec(job), desk.find(job)
    if spec is None or spot is None or spot.state is not JobState.BLOCKED:
        return None
    # A job that needs itself has nothing to wait for, as in the other brokers, where it is not there yet.
    spots = {need: desk.find(need) if need != job else None for need in spec.after}
    states = {need: found.state if found else None for need, found in spots.items()}
    state = after_needs(states.values(), delayed=spot.due > desk.scratch.tick())
    if state is JobState.CANCELLED:
        need = next(name for name, its in states.items() if its in (None, JobState.DEAD, JobState.CANCELLED))
        reason = f"it needs {need}, which is not there or did not end well"
        # Not durable: after a power cut `repair` does the same again.
        return state if commit(desk, spot, state, cancelled(desk, spot, reason), durable=False) else None
    if state is JobState.BLOCKED:
        return None
    target = spot.moved(state, lane=spot.lane, due=spot.due if state is JobState.DELAYED else 0)
    if not move(desk.layout.path(spot), desk.layout.path(target)):
        return None
    _wait_no_more(desk, spec)
    desk.feed.tell("job_unblocked", job)
    return state


def cancelled(desk: Desk, spot: Spot, reason: str) -> Result:
    """The result of a job that is cancelled without one."""
    started = spot.since_ms / 1000 if spot.since_ms else None
    return Result(
        spot.id,
        "cancelled",
        None,
        reason,
        spot.owner,
        "",
        spot.token,
        spot.attempts,
        started,
        desk.scratch.tick() / 1e6,
    )


def give_back(desk: Desk, spot: Spot, spec: Spec, *, delay: float = 0.0, attempts: int | None = None) -> bool:
    """Move a leased job back to its queue; False if it was no longer held."""
    due = desk.scratch.tick() + round(delay * 1e6) if delay > 0 else 0
    state = JobState.DELAYED if due else JobState.QUEUED
    target = spot.moved(state, lane=desk.lane_of(spec), due=due, attempts=attempts)
    if not to_wait(desk, spec, desk.layout.path(spot), target):
        return False
    if (wish := desk.wish(spot.id)) is not None:  # requested while it moved
        end(desk, target, JobState.CANCELLED, cancelled(desk, target, wish))
    return True


def lose(desk: Desk, spot: Spot, reason: str, kind: str) -> bool:
    """Return a leased job whose holder is gone to the queue, or end it. False if it was no longer held."""
    path = desk.layout.path(spot)
    spec = desk.spec_at(path)
    if spec is None:
        desk.set_aside(path, "it is not the whole file of a job")
        return False
    wish = desk.wish(spot.id)
    state = after_loss(spot.attempts, spec.max_attempts, cancelled=wish is not None)
    failure = Result(
        spot.id, "error", None, reason, spot.owner, "", spot.token, spot.attempts, spot.since_ms / 1000,
        desk.scratch.tick() / 1e6,
    )  # fmt: skip
    steps: dict[JobState, Callable[[], bool]] = {
        JobState.CANCELLED: lambda: end(desk, spot, state, cancelled(desk, spot, wish or "")),
        JobState.DEAD: lambda: end(desk, spot, state, failure),
        JobState.QUEUED: lambda: give_back(desk, spot, spec),
    }
    if not steps[state]():
        return False
    desk.note_attempt(spot.id, Attempt(spot.attempts, spot.token, spot.owner, reason, failure.finished_at))
    desk.feed.tell(kind, spot.id, spot.owner, {"reason": reason, "attempt": spot.attempts, "told_by": HOST})
    return True


def forget(desk: Desk, spot: Spot, spec: Spec) -> bool:
    """Remove every trace of a job that is over; False if it moved meanwhile."""
    layout = desk.layout
    if not remove(layout.path(spot)):
        return False
    for path in (
        layout.by_id(spot.id),
        layout.result(spot.id),
        layout.wish(spot.id),
        f"{layout.tasks}/task_{spot.id}.json",
    ):
        remove(path)
    if spec.key:
        remove_if_of(desk, layout.by_key(spec.key), spot.id)
    if spec.group:
        remove(layout.by_group(spec.group, spot.id))
    folder = f"{layout.own}/attempts/{spot.id}"
    for name in names(folder):
        remove(f"{folder}/{name}")
    with may_be_gone():
        os.rmdir(folder)
    return True


def remove_if_of(desk: Desk, by_key: str, job: str) -> None:
    """Free a key, if that job still has it."""
    spec = desk.spec_at(by_key)
    if spec is not None and spec.id == job:
        remove(by_key)
