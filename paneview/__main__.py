"""``python -m paneview`` is ``paneview``."""

from __future__ import annotations

import sys

from paneview.cli import main

if __name__ == "__main__":
    sys.exit(main())
