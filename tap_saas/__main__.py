"""The process `tap-saas`: errors as one line, their exit codes, never a bare traceback."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the tap and exit."""
    from tap_saas import tap
    from tap_saas.process import guarded

    sys.exit(guarded(tap.main, "tap-saas"))


if __name__ == "__main__":
    main()
