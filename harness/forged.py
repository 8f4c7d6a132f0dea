"""Forged addresses of internal hosts in every known spelling, and an audit of every ``connect``.

``LITERALS`` are whole URLs. ``RESOLVED`` are answers to the look-up of a harmless name.
``watch_connects`` sees every ``connect`` of this process, by the interpreter's audit events.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from serpline.net.limits import ADDRESSES_MAX, URL_CHARS_MAX

LITERALS = (
    "http://127.0.0.1/", "https://127.0.0.1/", "http://127.0.0.2/", "http://127.1/",
    "http://127.0.1/", "http://0/", "http://0.0.0.0/", "http://2130706433/", "http://017700000001/",
    "http://0x7f000001/", "http://0x7f.0x0.0x0.0x1/", "http://0177.0.0.1/", "http://127.0.0.01/",
    "http://127.0.0.1./", "http://localhost/", "http://LOCALHOST/", "http://localhost./",
    "http://a.localhost/", "http://localhost.localdomain/", "http://10.0.0.1/",
    "http://172.16.0.1/", "http://192.168.0.1/", "http://100.64.0.1/", "http://169.254.169.254/",
    "http://168.63.129.16/", "http://192.0.0.192/", "http://198.18.0.1/", "http://224.0.0.1/",
    "http://255.255.255.255/", "http://[::]/", "http://[::1]/", "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/",
    "http://[::ffff:0:127.0.0.1]/", "http://[64:ff9b::127.0.0.1]/", "http://[64:ff9b:1::1]/",
    "http://[2002:7f00:1::]/", "http://[2001:0:7f00:1::]/", "http://[fe80::1]/",
    "http://[fe80::1%25lo]/", "http://[fe80::1%lo]/", "http://[fec0::1]/", "http://[fc00::1]/",
    "http://[fd00:ec2::254]/", "http://[ff02::1]/", "http://[2001:db8::1]/",
    "http://127。0。0。1/", "http://１２７.0.0.1/", "http://①②⑦.⓪.⓪.①/", "http://ⓛocalhost/",
    "http://127%2e0%2e0%2e1/", "http://%31%32%37.0.0.1/", "http://example.com@127.0.0.1/",
    "http://example.com:80@127.0.0.1/", "http://user:pw@example.com/", "http://127.0.0.1\\@e.com/",
    "http://example.com\\@127.0.0.1/", "http:\\\\127.0.0.1/", "http://127.0.0.1#@example.com/",
    "http://127.0.0.1?@example.com/", "http:127.0.0.1/", "http:/127.0.0.1/", "//127.0.0.1/",
    "http:///127.0.0.1/", "http://metadata.google.internal/", "http://printer.local/",
    "http://intranet/", "http://example.com./", "http://example.com:8080/", "http://example.com:22/",
    "http://example.com:0/", "http://example.com:65616/", "https://example.com:6379/",
    "file:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1:6379/_", "ws://example.com/",
    "data:text/html,x", "http://[::1]:80/", "http://[v1.x]/", "http://exa mple.com/",
    "http://127.0.0.1\t/", "\thttp://127.0.0.1/", "http://127.0.0.1%00.example.com/",
    "http://example.com/" + "a" * URL_CHARS_MAX,
)  # fmt: skip

RESOLVED: tuple[list[str], ...] = (
    ["127.0.0.1"], ["::1"], ["10.1.2.3"], ["169.254.169.254"], ["100.64.0.1"], ["fe80::1%lo"],
    ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["2002:7f00:1::1"], ["fec0::1"], ["224.0.0.1"],
    ["0.0.0.0"], ["93.184.216.34", "127.0.0.1"], ["2606:4700::1111", "::1"], [],
    ["93.184.216.34"] * (ADDRESSES_MAX + 1),
)  # fmt: skip

# None outside ``watch_connects``. An audit hook cannot be removed, so it is added once.
_watcher: Callable[[Any], None] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _watcher is not None:
        _watcher(arguments[1])


sys.addaudithook(_audit)


@contextmanager
def watch_connects(allowed: Callable[[Any], bool] = lambda _address: True) -> Iterator[list[Any]]:
    """Record the addresses that sockets connect to within the block.

    A ``connect`` that is not ``allowed`` is recorded and refused, so no packet leaves the machine.
    """
    global _watcher
    seen: list[Any] = []

    def watcher(address: Any) -> None:
        seen.append(address)
        if not allowed(address):
            raise ConnectionRefusedError("refused: the address is not the test's own")

    _watcher = watcher
    try:
        yield seen
    finally:
        _watcher = None
