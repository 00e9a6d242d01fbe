"""The connection: scripts called by hash, retries while the server is away, readable error messages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis
from redis import exceptions

from paneview.broker.errors import BrokerError, UnavailableError
from paneview.broker.redis.scripts import script

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0  # seconds between two attempts
BLOCK = 5.0  # seconds a blocking command may last; the sockets' timeout is above that

# Temporary errors: no connection, a server still loading its data, a replica that is not the master yet or no longer.
_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)
_REFUSED = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)
# Errors that someone must fix on the server, after which the same call works.
_MEND = ("MISCONF ", "NOREPLICAS ", "OOM ")
# Temporary ones of which the client has no class: another client's script takes long; a blocking call ended by a
# failover; and what servers before 7.0 say within the error of a script.
_BRIEF = ("BUSY ", "UNBLOCKED ", "READONLY ")
_IN_SCRIPT = re.compile(r"Error running script .*@user_script: ?\d+: -?(?=[A-Z]+ )", re.DOTALL)


def _said(error: exceptions.RedisError) -> str:
    return _IN_SCRIPT.sub("", str(error))


def packed(command: Sequence[str | float]) -> bytes:
    """Encode a command for the server; redis-py's own encoder takes three times as long."""
    parts = [b"*%d\r\n" % len(command)]
    for value in command:
        word = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else repr(value).encode()
        parts += (b"$%d\r\n" % len(word), word, b"\r\n")
    return b"".join(parts)


class Link:
    """A thread-safe client. Calls are retried for ``patience`` seconds, then raise `UnavailableError`."""

    def __init__(self, client: redis.Redis, prefix: str, where: str, patience: float) -> None:
        self.client = client
        self.base = f"{{{prefix}}}:"
        self.where = where
        self.patience = patience
        # None for a cluster, which has one per node.
        self._pool: Any = getattr(client, "connection_pool", None)
        self._spare: list[Any] = []

    def call(self, name: str, *args: str | float) -> Any:
        """Run an idempotent script."""
        return self.patiently(lambda _again: self._run(name, args))

    def call_once(self, name: str, arguments: Callable[[bool], tuple[str | float, ...]]) -> Any:
        """Run a script that needs to know whether it may have run before, with its reply lost."""
        return self.patiently(lambda again: self._run(name, arguments(again)))

    def _run(self, name: str, args: tuple[str | float, ...]) -> Any:
        wanted = script(name)
        try:
            return self.ask("EVALSHA", wanted.sha, 1, self.base, *args)
        except exceptions.NoScriptError:  # a new server, or one that was restarted
            return self.ask("EVAL", wanted.text, 1, self.base, *args)

    def ask(self, *command: str | float) -> Any:
        """Send a command and return the raw answer. Raises RedisError.

        Bypasses the client, whose bookkeeping for each command takes longer than the server's answer.
        """
        if self._pool is None:
            client: Any = self.client
            return client.execute_command(*command)
        try:
            connection = self._spare.pop()
        except IndexError:
            connection = self._pool.get_connection()
        whole = False
        try:
            connection.send_packed_command([packed(command)])
            answer = connection.read_response()
            whole = True
        except exceptions.ResponseError as error:
            # If this is no master any more, its name may lead to another server by now.
            whole = not (isinstance(error, exceptions.ReadOnlyError) or _said(error).startswith("READONLY "))
            if not whole:
                self._pool.disconnect(inuse_connections=False)
            raise
        finally:
            if whole:
                self._spare.append(connection)
            else:
                # Half an answer may be under way, and the spare connections are no better.
                self._let_go(connection)
        return answer

    def _let_go(self, connection: Any) -> None:
        with suppress(IndexError):  # until there are no others
            while True:
                connection.disconnect()
                self._pool.release(connection)
                connection = self._spare.pop()

    def patiently(self, action: Callable[[bool], Any]) -> Any:
        """Run an action, and repeat it with growing pauses while the server is away.

        The action's argument tells whether it is being repeated.
        """
        end = time.monotonic() + self.patience
        pause = FIRST_PAUSE
        again = False
        while True:
            try:
                return action(again)
            except _REFUSED as error:
                raise BrokerError(f"Redis at {self.where} refuses: {error}") from error
            except exceptions.RedisError as error:
                said = _said(error)
                if isinstance(error, exceptions.OutOfMemoryError) or said.startswith(_MEND):
                    raise UnavailableError(f"Redis at {self.where} takes nothing: {said}") from error
                if not isinstance(error, _AWAY) and not said.startswith(_BRIEF):
                    raise BrokerError(f"Redis at {self.where}: {error}") from error
                if "certificate verify failed" in str(error):
                    raise BrokerError(
                        f"Redis at {self.where} does not prove who it is: {error}; ?ca=FILE names who vouches for it"
                    ) from error
                if time.monotonic() + pause > end:
                    words = said.partition(" : <")[0]  # a sentinel's client appends its repr
                    raise UnavailableError(f"Redis at {self.where} does not answer: {words}") from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            again = True

    def close(self) -> None:
        """Close every connection."""
        self.client.close()
