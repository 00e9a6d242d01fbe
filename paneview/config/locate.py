"""Where things are, as plain strings: for ``paneview status``, which has 30 ms for everything.

``pathlib`` and ``hashlib`` take six of those to import and do nothing here that ``os.path`` and the C module
behind ``hashlib`` don't. `paths` has the same for everyone else, with `Path`.
"""

from __future__ import annotations

import os

try:  # the module behind hashlib.sha256, without loading OpenSSL; `random` does the same
    from _sha2 import sha256  # type: ignore[import-not-found]  # Python 3.12 and later
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha256

FILE_NAMES = ("paneview.toml", "taskmux.toml")
KEY_LENGTH = 10
# sun_path holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
MAX_SOCKET_PATH = 103


def find_file(start: str) -> str | None:
    """The nearest configuration file in `start` or a folder above it, absolute, links not followed."""
    folder = os.path.abspath(start)
    while True:
        for name in FILE_NAMES:
            candidate = os.path.join(folder, name)
            if os.path.isfile(candidate):
                return candidate
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def state_home() -> str:
    """The folder that holds one folder per project: ``$PANEVIEW_HOME``, else the XDG state folder."""
    if home := os.environ.get("PANEVIEW_HOME"):
        return os.path.abspath(home)
    base = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(base, "paneview")


def project_key(file: str | os.PathLike[str]) -> str:
    """A short hash that tells this configuration file, with this state home, from every other on the machine.

    A file is known by its place: links in its folder's path are followed, but one in place of the file is not. If that
    is pointed elsewhere, or replaced by a file, it is still the same project, whose supervisor goes on. The home is
    part of the key: two supervisors with one file and two homes must not take each other's processes for left-overs.
    """
    folder, name = os.path.split(os.path.abspath(file))
    place = os.path.join(os.path.realpath(folder), name) + "\0" + os.path.realpath(state_home())
    return str(sha256(os.fsencode(place)).hexdigest()[:KEY_LENGTH])


def find_project_dir(file: str | os.PathLike[str]) -> str | None:
    """The project's state folder, or None if no supervisor ever ran for this file and it never had a queue."""
    suffix = "-" + project_key(file)
    home = state_home()
    try:
        names = os.listdir(home)
    except FileNotFoundError:
        return None
    return next((os.path.join(home, name) for name in names if name.endswith(suffix)), None)


def control_socket(project_dir: str) -> str:
    """The control socket's path; a short one in a private folder if the natural one would be too long."""
    natural = os.path.join(project_dir, "control.sock")
    if len(os.fsencode(natural)) <= MAX_SOCKET_PATH:
        return natural
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/paneview-{os.getuid()}"  # noqa: S108 - made 0700 by the server
    return os.path.join(runtime, "paneview", f"{project_dir[-KEY_LENGTH:]}.sock")
