"""What can be known of a socket without reading from it."""

import select
from collections.abc import Iterable
from typing import Any


def is_readable(fileno: int) -> bool:
    """Whether something has come, be it only the end: on an idle connection, a sign of its end."""
    ready: Iterable[Any]
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(fileno, select.POLLIN)
        ready = poller.poll(0)
    else:
        ready = select.select([fileno], [], [], 0)[0]
    return bool(ready)
