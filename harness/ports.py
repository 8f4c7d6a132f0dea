"""A port of loopback whose number is known before a process listens on it."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOOPBACK = "127.0.0.1"


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port: the system gives it to no other process, and one of ours may listen on it.

    The socket here is bound and does not listen. Linux lets a second socket bind to its port if
    both have SO_REUSEADDR, as servers have. On other systems the port is free, but not reserved.
    """
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((LOOPBACK, 0))
        port = int(taken.getsockname()[1])
        if sys.platform != "linux":
            taken.close()
        yield port
