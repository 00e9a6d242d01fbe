"""The rules: pure functions of (state, event, now) with no I/O, no clock and no asyncio.

Whatever decides what happens to a task lives in this room, so that it can be tested over virtual time;
whatever touches a process, a file or a socket lives in the rooms above.

Records that a supervisor has to load before its first task are `msgspec.Struct`: to define one takes a quarter of
what a dataclass takes, and there are ninety. What small programs load as well, beside agents and for queues, are
dataclasses, since msgspec itself would cost such a program more than it saves.
"""
