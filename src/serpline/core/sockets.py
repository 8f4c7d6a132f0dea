"""Checks a socket without reading from it."""

import select
from collections.abc import Iterable
from typing import Any


def is_readable(fileno: int) -> bool:
    """Whether data or the end has come. On an idle connection either means that it is over."""
    ready: Iterable[Any]
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(fileno, select.POLLIN)
        ready = poller.poll(0)
    else:
        ready = select.select([fileno], [], [], 0)[0]
    return bool(ready)
