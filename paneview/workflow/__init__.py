"""Durable workflows: a sentence becomes phases, each a job for an agent, and goes on whatever is killed.

A workflow is a document in the broker (`paneview.broker.documents`), changed only through the rules
(`paneview.rules.workflow`) and only from the version that was read. What is to be done follows from that state alone,
so it is done again after a crash, and each thing is such that doing it again does no harm: a run's job has an id made
from workflow, phase and attempt; a worktree that is there is taken; a verification may run twice. What is brought (a
job's result) counts for the attempt it was asked for, once.

Each workflow has a *home*: the host and project where it was asked for, since its folder and worktree are there. Of
the supervisors of one home one advances its workflows, elected by the broker and fenced; the others may still take
what people ask for (approve, cancel) and write it down: the elected one hears of it.

The broker's events say when a job is claimed or over; a look every few seconds finds what was missed.
"""
