"""The two exits for bad input: what a user can mend is a `SimexploreError`; everything else is a bug."""


class SimexploreError(Exception):
    """A user's mistake, told in one line that says how to mend it. The CLI prints it and exits with code 2."""
