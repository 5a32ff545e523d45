"""Where the installed command begins. It catches a Ctrl-C that comes while even the command line is being imported."""

from __future__ import annotations

import sys


def start() -> None:
    """Run `simexplore`; see `cli.main`."""
    try:
        from simexplore.cli.main import main
    except KeyboardInterrupt:
        sys.stderr.write("simexplore: interrupted\n")
        sys.exit(130)
    main()
