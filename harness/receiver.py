"""A local service that receives notifications over HTTP, as Apprise's ``json://`` sends them."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

STOP_CHECK_SECONDS = 0.02
# Answers a request whose body was read.
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass(slots=True)
class Received:
    """A message: its title, its text, and the id at its end."""

    title: str
    body: str

    @property
    def message_id(self) -> str:
        """The id that is the same whenever the message is sent again."""
        return self.body.rsplit("Message ", 1)[1]


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with a status."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


@dataclass(slots=True)
class Receiver:
    """What came, and how the next requests are answered."""

    port: int
    answer: Answer = field(default_factory=lambda: status(200))
    messages: list[Received] = field(default_factory=list)
    # Set when a request has come whose body was read.
    arrived: threading.Event = field(default_factory=threading.Event)
    # Set to let requests go on that hang until then.
    released: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str = "") -> str:
        """The Apprise URL of this receiver."""
        return f"json://127.0.0.1:{self.port}/{path}"

    def hang(self, request: BaseHTTPRequestHandler) -> None:
        """Answer nothing until ``released``."""
        self.released.wait(60)
        status(200)(request)


@contextmanager
def open_receiver() -> Iterator[Receiver]:
    """Run a receiver on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            given: dict[str, Any] = json.loads(body)
            made.messages.append(Received(given["title"], given["message"]))
            made.arrived.set()
            try:
                made.answer(self)
            except OSError:
                self.close_connection = True  # the sender is gone

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    server = Server(("127.0.0.1", 0), Handler)
    made = Receiver(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=[STOP_CHECK_SECONDS], daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
