"""The full-screen interface: a client of the control socket like any other.

The screen never runs in the process that supervises. A terminal that stops reading, a crash of the interface or a
closed window costs a connection and nothing else, and any number of screens show the same project.

Data flows one way: `link` holds the connection and feeds `picture`, the last known state; widgets draw from the
picture and hear, at most once a frame, what changed. Keys become requests. Nothing is shown before the supervisor
has said so, so a screen cannot disagree with another one.
"""
