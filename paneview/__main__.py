"""The program's entry: ``paneview``, and ``python -m paneview``."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command line; a Ctrl-C while its first modules are loaded leaves no trace either."""
    try:
        from paneview.cli import main as run  # noqa: PLC0415 - see above

        return run()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
