"""Where the installed command begins. It catches a Ctrl-C that comes while even the command line is being imported."""

from __future__ import annotations

import atexit
import gc
import sys


def start() -> None:
    """Run `simexplore`; see `cli.main`.

    At its end Python looks for garbage among all that there is, which takes a fifth of the time of a short command. Of
    what is frozen then there is nothing to look through; the system takes it back whole.
    """
    atexit.register(gc.freeze)
    try:
        from simexplore.cli.main import main
    except (KeyboardInterrupt, RuntimeError) as error:
        # Python 3.11 makes a RuntimeError of a Ctrl-C that comes while a class gets its attributes.
        if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__cause__, KeyboardInterrupt):
            raise
        sys.stderr.write("simexplore: interrupted\n")
        sys.exit(130)
    main()
