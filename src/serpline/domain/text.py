"""What a text may hold to be kept."""

import re

# What JSON and a command line can bring, and PostgreSQL cannot store.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can keep it: no NUL, no half of a surrogate pair.

    Such halves are also what bytes of the command line become that are not UTF-8.
    """
    return UNSTORABLE.search(text) is None
