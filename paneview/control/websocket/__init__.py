"""The WebSocket API: what the control socket offers, for a browser or a script that speaks JSON over WebSocket.

Off unless the file has a table ``[websocket]`` or ``paneview daemon --port PORT`` is used. A request is
``{"command": "restart", "params": {"task": "db"}}``, as in taskmux; `commands` has the table of commands. An
``"id"`` is returned in the reply; requests without one are answered in order, those with one as soon as they
are done.

``subscribe`` (``{"topics": ["state", "events", "heads"]}``, the first two by default) starts a stream:
``{"type": "snapshot", "status": …}``, then ``tasks`` (objects that changed), ``event`` and ``heads`` (where logs
end). For a client that reads slowly only the newest state of each task is kept, but no event is left out: a
client with too many unread events gets ``{"type": "cut", "reason": …}`` and is disconnected. Every client is
sent ``{"type": "health_check", "data": …}`` with the status object when a task's health changes, and every 30 s.

A client can run commands, and a web page of any site can reach a port of this machine, as can its other users.
Three things keep them out (`access`): a token that only this user can read, a check that ``Origin`` and ``Host``
are this machine, and a socket that listens on the loopback interface only.
"""
