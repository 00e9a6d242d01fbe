"""The full-screen interface: a client of the control socket like any other.

The screen never runs in the supervisor's process. A terminal that stops reading, a crash of the interface or a
closed window costs one connection and nothing else, and any number of screens can show the same project.

Data flows one way: `link` holds the connection and feeds `picture`, the last known state; widgets draw from the
picture and are notified of changes at most once a frame. Keys become requests. Nothing is shown before the
supervisor has reported it, so two screens cannot disagree.

`screens` are put together from what each subject shows (`tasks`, `logs`, `queue`, `workflows`, `ask`); these
build on `keys` and on `widgets`, which know nothing of a subject, except the header and the news of every screen.
"""
