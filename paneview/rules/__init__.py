"""The rules: pure functions of (state, event, now) with no I/O, no clock and no asyncio.

Whatever decides what happens to a task lives in this package, so that it can be tested over virtual time;
whatever touches a process, a file or a socket lives in the packages above.

Records that a supervisor loads before its first task are `msgspec.Struct`: defining one takes a quarter of the time of
a dataclass, and there are ninety. Records that small programs load too, beside agents and for queues, are dataclasses:
importing msgspec would cost such a program more than it saves.
"""
