"""Access control: the token, and what the headers of the first request must say. No I/O but the token's file.

The token can be sent as ``?token=…`` in the address, as ``Authorization: Bearer …``, or as ``{"token": …}`` in
the first message, for a page that does not want it in an address and cannot set headers. A page of this machine
(``Origin`` is the loopback) still needs it; a page of any other site is refused even with it, and so is a name
that some DNS server resolves to this machine (``Host``).
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
TOKEN_BYTES = 32


def load_token(path: Path) -> str:
    """The token in `path`; a new one if there is none that can be sent, or if others may have read it. Raises OSError.

    After a power cut a file may hold zero bytes or those of another.
    """
    with suppress(FileNotFoundError):
        found = path.lstat()
        private = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
        token = path.read_text("ascii", "replace").strip() if private and found.st_uid == os.geteuid() else ""
        if token.isascii() and token.isprintable() and token:
            return token
        path.unlink()
    token = secrets.token_urlsafe(TOKEN_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token


def refusal(hosts: Sequence[str], origins: Sequence[str]) -> str | None:
    """Why a request with these ``Host`` and ``Origin`` headers is refused; None if it is not."""
    if len(hosts) != 1 or _host_name(f"//{hosts[0]}") not in LOOPBACK:
        return "this address is not the loopback interface's: use localhost or 127.0.0.1"
    if any(_host_name(origin) not in LOOPBACK for origin in origins):
        return "pages of other sites may not come in"
    return None


def tokens_in(target: str, authorization: Sequence[str]) -> list[str]:
    """The tokens in a request's target (path and query) and in its ``Authorization`` headers."""
    tokens = parse_qs(urlsplit(target).query, keep_blank_values=True).get("token", [])
    for header in authorization:
        scheme, _, value = header.strip().partition(" ")
        tokens.append(value.strip() if scheme.lower() == "bearer" else "")
    return tokens


def is_token(given: object, token: str) -> bool:
    """Whether `given` is the token, in a time that does not reveal how much of it is right."""
    return isinstance(given, str) and secrets.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _host_name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
