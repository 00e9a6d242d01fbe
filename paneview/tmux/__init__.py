"""The only package that knows tmux.

``launch`` is for the command line: blocking, without asyncio or other heavy imports. ``session`` is for the
supervisor: everything goes over one control-mode client (``control``). Only the tests use libtmux: each of its
round trips costs a process, and discovering versions and sessions takes three lines here.
"""
