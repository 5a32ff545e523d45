"""Where the installed command begins. It catches a Ctrl-C that comes while even the command line is being imported."""

from __future__ import annotations

import sys


def start() -> None:
    """Run `simexplore`; see `cli.main`."""
    try:
        from simexplore.cli.main import main
    except (KeyboardInterrupt, RuntimeError) as error:
        # Python 3.11 makes a RuntimeError of a Ctrl-C that comes while a class gets its attributes.
        if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        sys.stderr.write("simexplore: interrupted\n")
        sys.exit(130)
    main()
