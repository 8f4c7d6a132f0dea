"""The person who runs this process."""

import getpass


def person() -> str | None:
    """The name of the user of this process; None if it has none."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return None
    # PostgreSQL stores no bytes that are not UTF-8.
    return name if name and name.isprintable() else None
