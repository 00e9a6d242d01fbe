"""From a URL to a client for one server, sentinels or a cluster; also warns about problems of the set-up."""

from __future__ import annotations

import os
import socket
from typing import Any
from urllib.parse import SplitResult, unquote

from paneview.broker.errors import BadUrlError, BrokerError, MissingExtraError
from paneview.broker.model import Settings

try:
    import redis
    from redis import sentinel
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise MissingExtraError(
        "the Redis broker needs redis-py, the extra 'redis': pip install 'paneview[redis]'"
    ) from error

from paneview.broker.redis.broker import RedisBroker
from paneview.broker.redis.link import BLOCK, Link

PATIENCE = 5.0  # seconds a call is retried while Redis is away
# The system gives up a silently dead connection, such as one a firewall has dropped, while there is time left to open
# another. It does not give up a server that is merely slow, whose kernel still answers.
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 2000}
OLDEST = (6, 2)
PORT = 6379


def open_redis(parts: SplitResult, options: dict[str, str], settings: Settings) -> RedisBroker:
    """Connect. Raises `BadUrlError`, `UnavailableError`, `BrokerError` for a server that is too old."""
    prefix = options.get("prefix", "paneview")
    if not prefix or set(prefix) & set("{}*?[]\\ "):
        raise BadUrlError(f"{prefix!r} can be no prefix of keys: no braces, blanks or wildcards")
    client, where = _client(parts, _connection_options(parts, options))
    try:
        return _greet(client, prefix, where, parts, settings)
    except BaseException:
        client.close()
        raise


def _connection_options(parts: SplitResult, options: dict[str, str]) -> dict[str, Any]:
    chosen: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "surrogatepass",
        "socket_connect_timeout": 3.0,
        "socket_timeout": BLOCK + 5.0,
        "socket_keepalive": True,
        "socket_keepalive_options": {
            getattr(socket, name): value for name, value in KEEPALIVE.items() if hasattr(socket, name)
        },
        "retry": Retry(NoBackoff(), 0),  # `Link` retries, and knows which calls may be repeated
        "driver_info": None,  # otherwise each client reads its version from a file and sends it in two calls
    }
    if parts.username is not None or parts.password is not None:
        chosen["username"] = unquote(parts.username or "") or None
        chosen["password"] = unquote(parts.password or "") or os.environ.get("PANEVIEW_REDIS_PASSWORD")
    elif password := os.environ.get("PANEVIEW_REDIS_PASSWORD"):
        chosen["password"] = password
    if parts.scheme.startswith("rediss"):
        chosen["ssl"] = True
        if ca := options.get("ca"):
            chosen["ssl_ca_certs"] = ca
    return chosen


def _client(parts: SplitResult, chosen: dict[str, Any]) -> tuple[Any, str]:
    if parts.scheme.endswith("+sentinel"):
        return _behind_sentinels(parts, chosen)
    database = parts.path.strip("/") or "0"
    try:
        host, port = parts.hostname or "localhost", parts.port or PORT
    except ValueError as error:
        raise BadUrlError(f"{parts.netloc.rpartition('@')[2]}: {error}") from error
    if not database.isdecimal():
        raise BadUrlError(f"/{database} is not the number of a Redis database")
    return redis.Redis(host=host, port=port, db=int(database), **chosen), f"{host}:{port}"


def _behind_sentinels(parts: SplitResult, chosen: dict[str, Any]) -> tuple[Any, str]:
    master, _, database = parts.path.strip("/").partition("/")
    hosts = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        host, _, port = place.rpartition(":")
        if not host or not port.isdecimal():
            raise BadUrlError(f"{place!r} is not a sentinel: write HOST:PORT")
        hosts.append((host.strip("[]"), int(port)))
    if not master or not (database or "0").isdecimal():
        raise BadUrlError("sentinels need the name of their master: redis+sentinel://HOST:PORT/MASTER[/DB]")
    sentinels: Any = sentinel.Sentinel
    watchers = sentinels(
        hosts, sentinel_kwargs={"socket_connect_timeout": 1.0, "socket_timeout": 2.0}, **chosen
    )
    return watchers.master_for(master, db=int(database or "0")), f"the master {master!r}"


def _greet(client: Any, prefix: str, where: str, parts: SplitResult, settings: Settings) -> RedisBroker:
    info: dict[str, Any] = Link(client, prefix, where, PATIENCE).patiently(lambda _again: client.info())
    version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
    if version < OLDEST:
        raise BrokerError(f"Redis 6.2 or newer is needed, {where} is {info['redis_version']}")
    if info.get("cluster_enabled"):
        client = _as_cluster(client)
    link = Link(client, prefix, where, PATIENCE)
    url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return RedisBroker(url, link, settings, _warnings(info, where), str(info["run_id"]))


def _as_cluster(client: Any) -> Any:
    """A client with the same options that follows the cluster's redirections."""
    known = dict(client.connection_pool.connection_kwargs)
    host, port = known.pop("host"), known.pop("port")
    for name in ("db", "retry"):
        known.pop(name, None)
    client.close()
    return redis.RedisCluster(host=host, port=port, **known)


def _warnings(info: dict[str, Any], where: str) -> tuple[str, ...]:
    warnings = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        limit = "" if info.get("maxmemory") else ", as soon as maxmemory is set"
        warnings.append(
            f"Redis at {where} has maxmemory-policy {policy}: it drops jobs when memory is short{limit}; "
            "set maxmemory-policy noeviction"
        )
    if not info.get("aof_enabled"):
        warnings.append(
            f"Redis at {where} has no append-only file: it forgets the latest jobs when it is killed; "
            "set appendonly yes"
        )
    return tuple(warnings)
