"""The WebSocket API: what the control socket offers, for a browser or a script that speaks JSON over WebSocket.

Off unless the file has a table ``[websocket]`` or ``paneview daemon --port PORT`` asked for it. A request is
``{"command": "restart", "params": {"task": "db"}}``, as taskmux had it; `commands` is the table of them. An
``"id"`` comes back in the reply; requests without one are answered in their order, those with one as soon as
they are done.

``subscribe`` (``{"topics": ["state", "events", "heads"]}``, the first two by default) starts a stream:
``{"type": "snapshot", "status": …}``, then ``tasks`` (objects that changed), ``event`` and ``heads`` (where logs
end). Of a task's state only the newest matters and only that is kept for a client that reads slowly; of events
none is left out: a client that has too many of them unread gets ``{"type": "cut", "reason": …}`` and is closed.
Every client is sent ``{"type": "health_check", "data": …}`` with the status object when a task's health changes,
and every 30 s.

Whoever gets in can run commands, since a web page of any site can reach a port of this machine, and so can every
other user of it. Three things keep them out (`access`): a token that only this user can read, ``Origin`` and
``Host`` of this machine alone, and a socket that listens on the loopback interface alone.
"""
