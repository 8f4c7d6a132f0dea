"""A provider on loopback that answers each company look-up after ``LATENCY_SECONDS``.

It prints its port. The path ``/calls`` returns the start of each call (seconds, its own clock) as a
JSON list, so the provider itself counts the calls.
"""

import asyncio
import json
import sys
import time

_BODY = json.dumps({"status": 200, "likelihood": 9, "name": "a company", "display_name": "A"})
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}"


async def serve(latency_seconds: float) -> None:
    """Serve until killed, or until stdin ends."""
    calls: list[float] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET /calls "):
                    body = json.dumps(calls)
                else:
                    calls.append(time.perf_counter())
                    await asyncio.sleep(latency_seconds)
                    body = _BODY
                writer.write(_HEAD.format(len(body), body).encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
