"""The interface that every client uses: requests, replies and a stream of changes, as JSON lines over a Unix
socket.

This file imports nothing, so that the command line can import ``control.blocking`` cheaply.
"""
