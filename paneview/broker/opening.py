"""From a URL to a broker.

==========================================================  ======================================================
``sqlite:``                                                 ``queue.db`` in the project's state folder
``sqlite:///PATH``                                          that file; ``?durable=full`` survives power cuts, too
``redis://[USER:PASSWORD@]HOST[:PORT][/DB]``, ``rediss://``  Redis 6.2 or later; ``?prefix=NAME``, ``?ca=FILE``
``redis+sentinel://HOST:PORT[,…]/MASTER[/DB]``              the master that these sentinels name; ``rediss+sentinel``
``dir:///PATH``                                             a folder that all hosts share; ``?interval=SECONDS``
==========================================================  ======================================================
"""

from __future__ import annotations

import difflib
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from paneview.broker.errors import BadUrlError
from paneview.broker.interface import Broker
from paneview.broker.model import Settings
from paneview.config.queue import SCHEMES

DEFAULT = Settings()


def open_broker(url: str, *, project_dir: Path | None = None, settings: Settings = DEFAULT) -> Broker:
    """Connect to a queue; it is created if it does not exist.

    Raises `BadUrlError`, `MissingExtraError` if a library is not installed, `UnavailableError` if the queue does not
    answer, and `BrokerError` if it cannot be used.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its message may contain the password
        hint = "percent-encode the password: [ as %5B, ] as %5D"
        raise BadUrlError(f"{url.partition(':')[0]}://… is not a URL: {hint}") from None
    if parts.scheme not in SCHEMES:
        near = difflib.get_close_matches(parts.scheme, SCHEMES, 1)
        hint = f"did you mean {near[0]}?" if near else "write sqlite:, redis://HOST:PORT or dir:///FOLDER"
        raise BadUrlError(f"{_shown(url)}: no broker is called {parts.scheme!r}; {hint}")
    broker = _open(url, parts, project_dir, settings)
    if parts.netloc or parts.path:
        broker.address = url
    else:  # the project's own
        query = f"?{parts.query}" if parts.query else ""
        broker.address = f"sqlite://{quote(broker.url.removeprefix('sqlite://'))}{query}"
    return broker


def _open(url: str, parts: SplitResult, project_dir: Path | None, settings: Settings) -> Broker:
    if parts.scheme == "sqlite":
        return _sqlite(url, parts, project_dir, settings)
    if parts.scheme == "dir":
        return _directory(url, parts, settings)
    from paneview.broker.redis.opening import open_redis  # noqa: PLC0415 - an extra

    return open_redis(parts, options(url, parts, ("prefix", "ca")), settings)


def options(url: str, parts: SplitResult, known: tuple[str, ...]) -> dict[str, str]:
    """The options in the URL's query. Raises `BadUrlError` for one not in ``known``."""
    found = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1) or known
            raise BadUrlError(f"{_shown(url)}: there is no option {name!r}; did you mean {near[0]!r}?")
    return found


def _shown(url: str) -> str:
    """The URL for messages, without its password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":…@")


def _path(url: str, parts: SplitResult) -> Path | None:
    if parts.netloc:
        raise BadUrlError(f"{url}: a path needs three slashes, {parts.scheme}:///{parts.netloc}{parts.path}")
    path = unquote(parts.path)
    if "\0" in path:
        raise BadUrlError(f"{parts.scheme}://{parts.path}: the path holds a NUL character")
    return Path(path) if path else None


def _sqlite(url: str, parts: SplitResult, project_dir: Path | None, settings: Settings) -> Broker:
    from paneview.broker.sqlite.broker import SqliteBroker  # noqa: PLC0415 - only what is used is loaded

    chosen = options(url, parts, ("durable",))
    if chosen.get("durable", "normal") not in ("normal", "full"):
        raise BadUrlError(f"{url}: durable is normal or full")
    path = _path(url, parts)
    if path is None and project_dir is not None:
        path = project_dir / "queue.db"
    if path is None:
        raise BadUrlError(f"{url}: outside a project the file must be named, sqlite:///PATH")
    return SqliteBroker(path, settings, durable=chosen.get("durable") == "full")


def _directory(url: str, parts: SplitResult, settings: Settings) -> Broker:
    from paneview.broker.directory.broker import DirectoryBroker  # noqa: PLC0415 - only what is used is loaded

    chosen = options(url, parts, ("interval",))
    try:
        interval = float(chosen.get("interval", "0.5"))
    except ValueError:
        interval = 0.0
    if not 0.01 <= interval <= 3600:
        raise BadUrlError(f"{url}: interval is a number of seconds, 0.01 to 3600")
    path = _path(url, parts)
    if path is None:
        raise BadUrlError(f"{url}: the folder must be named, dir:///PATH")
    return DirectoryBroker(path, settings, interval=interval)
