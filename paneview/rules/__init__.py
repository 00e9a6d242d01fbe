"""The rules: pure functions of (state, event, now) with no I/O, no clock and no asyncio.

Whatever decides what happens to a task lives in this room, so that it can be tested over virtual time;
whatever touches a process, a file or a socket lives in the rooms above.
"""
