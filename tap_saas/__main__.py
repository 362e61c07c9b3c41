"""The process `tap-saas`: errors as one line, their exit codes, never a bare traceback."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the tap and exit."""
    # Until the tap listens to it, Ctrl-C simply ends the process: there is nothing to save.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tap_saas import tap
    from tap_saas.process import guarded

    sys.exit(guarded(tap.main, "tap-saas"))


if __name__ == "__main__":
    main()
