"""The queue beside the fleet in a wide terminal: how many jobs wait for each target, and how the workers are."""

from __future__ import annotations

from collections import Counter

from textual.strip import Strip

from paneview.control.queuemodel import LaneView, QueueView
from paneview.tui.queue.words import WORKER_LOOKS, unseen, worker_condition
from paneview.tui.text import cells, clean, cut, fit
from paneview.tui.widgets.canvas import PLAIN, Canvas, Piece, line, spread
from paneview.tui.words import duration, plural

MOST_NAME = 26


class QueueStrip(Canvas):
    """A rule with the totals, the workers in a line, and a line for each target that has jobs."""

    def on_click(self) -> None:
        """Show the queue's own screen."""
        self.pv.action_go("queue")

    def needed(self) -> int:
        """The lines that it needs, 0 if the queue is not in use."""
        queue = self.pv.picture.queue
        if queue is None or not queue.in_use:
            return 0
        return 2 + len(queue.lanes) + (queue.problem is not None)

    def paint(self, width: int, height: int) -> list[Strip]:
        """The rule and the lines."""
        inks, queue = self.inks, self.pv.picture.queue
        if queue is None:
            return []
        left: list[Piece] = [("── ", inks.rule), ("queue ", inks.title)]
        left.append((f" {queue.waiting:,} waiting  {queue.running:,} running ", inks.dim))
        if queue.dead:
            left.append((f" ✗ {plural(queue.dead, 'dead letter')} ", inks.failed))
        strips = [spread(width, inks.base, left, [(" 3 all ──", inks.dim)], ("─", inks.rule))]
        if queue.problem is not None:
            strips.append(line(width, inks.base, (f" ✗ {cut(clean(queue.problem), width - 4)}", inks.failed)))
        strips.append(line(width, inks.base, *self._workers(queue)))
        lanes = sorted(queue.lanes, key=lambda lane: -(lane.depth + lane.leased))
        wide = min(MOST_NAME, max((cells(clean(lane.target)) for lane in lanes), default=0))
        room = max(0, height - len(strips))
        shown = lanes if len(lanes) <= room else lanes[: max(0, room - 1)]
        strips += [line(width, inks.base, *self._lane(lane, wide)) for lane in shown]
        if len(shown) < len(lanes):
            strips.append(line(width, inks.base, (f" and {len(lanes) - len(shown)} more targets", inks.dim)))
        return strips

    def _workers(self, queue: QueueView) -> list[Piece]:
        inks = self.inks
        found = Counter(worker_condition(worker, worker.heartbeat_age_s) for worker in queue.workers)
        found["quarantined"] += len(unseen(queue))
        if not found.total():
            return [(" no workers", inks.attention if queue.waiting else inks.dim)]
        pieces: list[Piece] = [(f" {plural(found.total(), 'worker')}:", inks.dim)]
        for name, look in WORKER_LOOKS.items():
            if found[name]:
                pieces.append((f" {look.glyph} {found[name]} {look.word} ", inks.role(look.role)))
        return pieces

    def _lane(self, lane: LaneView, wide: int) -> list[Piece]:
        inks = self.inks
        pieces: list[Piece] = [
            (f" {fit(clean(lane.target), wide)}", inks.title),
            (f" {lane.depth:>6,} waiting", PLAIN if lane.depth else inks.dim),
            (f" {lane.leased:>5,} running", inks.ok if lane.leased else inks.dim),
        ]
        if lane.oldest_age_s is not None:
            age = lane.oldest_age_s + max(0.0, self.pv.picture.clock() - self.pv.picture.queue_at)
            pieces.append((f"  oldest {duration(age)}", inks.dim))
        return pieces
