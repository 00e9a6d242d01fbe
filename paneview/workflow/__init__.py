"""Durable workflows: a task in a sentence becomes phases, each a job for an agent, and survives any kill.

A workflow is a document in the broker (`paneview.broker.documents`), changed only through the rules
(`paneview.rules.workflow`) and only from the version that was read. What must be done follows from that state alone, so
it is done again after a crash, and every step can be repeated without harm: a run's job has an id made from workflow,
phase and attempt; an existing worktree is reused; a verification may run twice. A job's result counts once, for the
attempt it belongs to.

Each workflow has a *home*: the host and project where it was started, because its folder and worktree are there. If
a home has several supervisors, one of them, elected by the broker and fenced, advances its workflows; the others may
still accept requests (approve, cancel) and store them, and the elected one is notified.

The broker's events tell when a job is claimed or over; a check every few seconds finds what was missed.
"""
