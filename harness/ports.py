"""A port of loopback whose number has to be known before anybody listens on it."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOOPBACK = "127.0.0.1"


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that the system gives to no other process, and that one of ours may listen on.

    The socket here is bound and does not listen. Linux lets a second socket bind to its port where
    both have SO_REUSEADDR, as servers have. Elsewhere the port is free, and not reserved.
    """
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((LOOPBACK, 0))
        port = int(taken.getsockname()[1])
        if sys.platform != "linux":
            taken.close()
        yield port
