"""What a project already says about how it is run: for ``paneview init``, which makes tasks of it.

Each kind of file has a function from its text to offers; nothing is executed. An offer is suggested if it looks like
something that keeps running (a dev server, a watcher, a service), but only from the outermost of the layers that have
one: a Procfile usually runs the scripts of package.json, and a Makefile often wraps both, so that suggestions from
several layers would start the same server twice. What is not suggested is offered all the same.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from paneview.config.names import NAME_LENGTH
from paneview.config.reading import load_json

LARGEST = 1024 * 1024  # bytes; larger files are not read

# Words in a script's name that say it keeps running. The first main word that is a script's name is the project itself.
MAIN_WORDS = ("dev", "develop", "serve", "server", "start", "run", "up")
ALSO_WORDS = ("watch", "worker", "storybook")
FIRST_PORT, PORT_STEP = 5000, 100  # as foreman gives them to the processes of a Procfile
COMPOSE_GRACE = 15  # seconds: compose itself gives its containers ten

# Characters that neither a command nor a file of ours can hold.
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

Entries = frozenset[str]  # what is in the folder


@dataclass(frozen=True)
class Offer:
    """A task that could be made: its name, its command, further keys of its table, and where it comes from."""

    name: str
    command: str
    source: str
    """The file it was found in."""
    detail: str = ""
    """What the command runs or is for, shown to people."""
    suggested: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """All offers of a folder, and what could not be read, as sentences."""

    offers: tuple[Offer, ...]
    notes: tuple[str, ...] = ()


def find_offers(folder: Path) -> Found:
    """Look through `folder`. Raises OSError if it cannot be listed."""
    entries = frozenset(entry.name for entry in folder.iterdir())
    offers: list[Offer] = []
    notes: list[str] = []
    layers: dict[str, int] = {}
    for source in SOURCES:
        name = next((name for name in source.files if name in entries), None)
        if name is None or not (folder / name).is_file():
            continue
        layers[name] = source.layer
        try:
            read = source.read(_text(folder / name), name, entries)
            offers += [offer for offer in read if not _UNFIT.search(offer.command)]
        except (OSError, ValueError) as error:
            notes.append(f"{name}: {error}")
    return Found(tuple(_distinct(_outermost(offers, layers))), tuple(notes))


def from_procfile(text: str, source: str, entries: Entries) -> list[Offer]:
    """One task per line, as foreman runs them: with a PORT of its own where used, and the variables of ``.env``."""
    offers = []
    processes = re.findall(r"^([A-Za-z0-9_-]+):[ \t]*(\S.*)$", text, re.MULTILINE)
    for number, (name, command) in enumerate(processes):
        settings: dict[str, Any] = {}
        if name == "web" or re.search(r"\$\{?PORT\b", command):
            settings["env"] = {"PORT": str(FIRST_PORT + PORT_STEP * number)}
        if ".env" in entries:
            settings["env_file"] = ".env"
        once = name == "release"
        if once:
            settings |= {"auto_start": False, "restart_policy": "no"}
        offers.append(
            Offer(_task_name(name), _defaulted(command.strip(), settings), source, "", not once, settings)
        )
    return offers


def from_compose(text: str, source: str, _entries: Entries) -> list[Offer]:
    """One task per service."""
    return [
        Offer(
            _task_name(name),
            f"docker compose up {name}",
            source,
            suggested=True,
            settings={"stop_grace_period": COMPOSE_GRACE},
        )
        for name in compose_services(text)
    ]


def compose_services(text: str) -> list[str]:
    """The names of the services of a compose file. Raises ValueError for a style that is not read here.

    Only the keys right under ``services:`` are wanted. Those are the lines of one indentation, whatever is below
    them, so no YAML parser is needed.
    """
    names: list[str] = []
    depth: int | None = None
    inside = False
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip(" "))
        if indent == 0:
            inside = bool(re.match(r"""["']?services["']?\s*:""", line))
            if inside and not re.fullmatch(r"""["']?services["']?\s*:\s*(#.*)?""", line):
                raise ValueError("its services are written in a style that is not read here")
            continue
        if inside:
            depth = indent if depth is None else depth
            if indent == depth and (match := re.match(r"""\s+(["']?)([A-Za-z0-9._-]+)\1\s*:(\s|$)""", line)):
                names.append(match[2])
    return names


def from_package_json(text: str, source: str, entries: Entries) -> list[Offer]:
    """One task per script, run by the package manager that the project uses."""
    try:
        data = load_json(text)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    scripts = data.get("scripts") if isinstance(data, dict) else None
    if not isinstance(scripts, dict):
        return []
    manager = _package_manager(data.get("packageManager"), entries)
    wanted = {
        name: body
        for name, body in scripts.items()
        if isinstance(body, str) and body.strip() and not _is_npm_hook(name, scripts)
    }
    return _scripts(wanted, partial(_command, f"{manager} run "), source)


def _package_manager(declared: object, entries: Entries) -> str:
    if isinstance(declared, str) and (name := declared.split("@")[0]) in {"npm", "pnpm", "yarn", "bun"}:
        return name
    locks = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun", "bun.lockb": "bun"}
    return next((manager for lock, manager in locks.items() if lock in entries), "npm")


def _is_npm_hook(name: str, scripts: Mapping[str, Any]) -> bool:
    """Whether npm runs this script by itself, around another one or at installation."""
    around = re.fullmatch(r"(?:pre|post)(.+)", name)
    return bool(around and around[1] in scripts) or name in {
        "preinstall", "install", "postinstall", "prepare", "prepublish", "prepublishOnly", "prepack", "postpack",
    }  # fmt: skip


def from_manage_py(text: str, source: str, entries: Entries) -> list[Offer]:
    """Django's server and its migrations."""
    if "django" not in text.lower():
        return []
    python = _python(entries)
    once = {"auto_start": False, "restart_policy": "no"}
    return [
        Offer("django", f"{python} manage.py runserver 8000", source, "", True, {"health_tcp": 8000}),
        Offer("migrate", f"{python} manage.py migrate", source, "", False, once),
    ]


def _python(entries: Entries) -> str:
    if ".venv" in entries:
        return ".venv/bin/python"
    return f"{_runner(entries)}python" if _runner(entries) else "python3"


def _runner(entries: Entries) -> str:
    runners = {"uv.lock": "uv run ", "poetry.lock": "poetry run ", "Pipfile": "pipenv run "}
    return next((runner for lock, runner in runners.items() if lock in entries), "")


def from_pyproject(text: str, source: str, entries: Entries) -> list[Offer]:
    """The tasks of poe, pdm and taskipy."""
    try:
        tools = tomllib.loads(text).get("tool", {})
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not TOML: {error}") from None
    offers: list[Offer] = []
    runner = _runner(entries)
    for tool, table, command in (
        ("poe", "tasks", f"{runner}poe "),
        ("taskipy", "tasks", f"{runner}task "),
        ("pdm", "scripts", "pdm run "),
    ):
        found = tools.get(tool, {}).get(table, {}) if isinstance(tools.get(tool, {}), dict) else {}
        if isinstance(found, dict):
            wanted = {name: _body(body) for name, body in found.items() if not name.startswith("_")}
            offers += _scripts(wanted, partial(_command, command), source)
    return offers


def _body(value: object) -> str:
    if isinstance(value, dict):
        value = next((value[key] for key in ("cmd", "shell", "script") if key in value), "")
    return value if isinstance(value, str) else ""


def from_makefile(text: str, source: str, _entries: Entries) -> list[Offer]:
    """One task per target that is not a file: those declared phony, or, if none are, those without a dot."""
    phony = {name for line in re.findall(r"^\.PHONY\s*:(.*)$", text, re.MULTILINE) for name in line.split()}
    targets: dict[str, str] = {}
    for names, rest in re.findall(r"^([A-Za-z0-9][A-Za-z0-9_. -]*):(?![=:])(.*)$", text, re.MULTILINE):
        comment = rest.partition("##")[2].strip()
        for name in names.split():
            if name in phony or (not phony and "." not in name):
                targets.setdefault(name, comment)
    return _scripts(targets, partial(_command, "make "), source)


def _scripts(scripts: Mapping[str, str], command: Callable[[str], str], source: str) -> list[Offer]:
    """Offers of named scripts: the main one starts by itself, others that run on by hand, the rest by hand and once."""
    main = next((word for word in MAIN_WORDS if word in scripts), None)
    offers = []
    for name, body in scripts.items():
        words = re.split(r"[^A-Za-z0-9]+", name)
        part = words[0] in MAIN_WORDS and name != main  # of the main one, or another way to run it
        runs_on = name == main or part or any(word in ALSO_WORDS for word in words)
        suggested = runs_on and not (part and main)
        settings: dict[str, Any] = {}
        if not (name == main or (part and not main)):
            settings["auto_start"] = False
        if not runs_on:
            settings["restart_policy"] = "no"
        offers.append(Offer(_task_name(name), command(name), source, body.strip(), suggested, settings))
    return offers


@dataclass(frozen=True)
class _Source:
    """A kind of file: its names (the first that exists counts), its layer (0 is the outermost), and its reader."""

    files: tuple[str, ...]
    layer: int
    read: Callable[[str, str, Entries], list[Offer]]


SOURCES = (
    _Source(("Procfile.dev", "Procfile"), 0, from_procfile),
    _Source(("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"), 0, from_compose),
    _Source(("package.json",), 1, from_package_json),
    _Source(("manage.py",), 1, from_manage_py),
    _Source(("pyproject.toml",), 1, from_pyproject),
    _Source(("GNUmakefile", "makefile", "Makefile"), 2, from_makefile),
)


def _outermost(offers: list[Offer], layers: Mapping[str, int]) -> list[Offer]:
    """The offers, with suggestions only from the outermost layer; compose services go with the first two layers."""
    held = {layers[offer.source] for offer in offers if offer.suggested and "compose" not in offer.source}
    if any("compose" in offer.source for offer in offers):
        held.add(1)
    outermost = min(held, default=0)
    return [
        replace(offer, suggested=False, settings={**offer.settings, "auto_start": False})
        if layers[offer.source] > outermost
        else offer
        for offer in offers
    ]


def _distinct(offers: Iterable[Offer]) -> list[Offer]:
    """The offers with unique names: one whose name is taken is also named after its file."""
    taken: set[str] = set()
    named = []
    for offer in offers:
        name = offer.name
        if name in taken:
            stem = _task_name(f"{name}-{offer.source.split('.')[0].lower()}")
            name = next(new for new in (stem, *(f"{stem}-{n}" for n in range(2, 1000))) if new not in taken)
        taken.add(name)
        named.append(replace(offer, name=name))
    return named


def _task_name(name: str) -> str:
    """`name`, made valid for a task."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[: NAME_LENGTH - 16] or "task"
    return f"task-{safe}" if safe.isdecimal() else safe


def _defaulted(command: str, settings: Mapping[str, Any]) -> str:
    """The command with ``${X}`` as ``${X:-}``, which is the same to a shell and not an error in our file."""

    def default(match: re.Match[str]) -> str:
        return match[0] if match[1] in settings.get("env", {}) else f"${{{match[1]}:-}}"

    return re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", default, command)


def _command(runner: str, name: str) -> str:
    return runner + _shell_word(name)


def _shell_word(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", name) else "'" + name.replace("'", "'\\''") + "'"


def _text(file: Path) -> str:
    if file.stat().st_size > LARGEST:
        raise ValueError(f"is larger than {LARGEST} bytes")
    return file.read_text("utf-8", "replace")
