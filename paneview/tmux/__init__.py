"""The only room that knows tmux.

``launch`` is for the command line: blocking, and it imports neither asyncio nor anything heavy. ``session``
is for the supervisor: everything goes over one control-mode client (``control``). libtmux is used by the
tests alone: a round trip of it costs a process, and discovering versions and sessions takes three lines
here.
"""
