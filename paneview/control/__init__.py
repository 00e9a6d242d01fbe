"""The interface everyone speaks: requests, replies and a stream of what happens, as JSON lines over a Unix
socket.

This file imports nothing, so that ``control.blocking`` stays the cheap way in for the command line.
"""
