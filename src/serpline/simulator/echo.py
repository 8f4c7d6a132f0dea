"""Errors that repeat the request, with its key, as careless servers do."""

import base64
import json
from contextlib import suppress
from typing import Any

from serpline.simulator.wire import Reply, Request

_HEADERS = ("authorization", "x-api-key", "login-customer-id")


def echo_request(reply: Reply, request: Request) -> Reply:
    """Add the request's address and credentials to every text and a header of an error."""
    query = "&".join(f"{name}={value}" for name, value in request.query.items())
    parts = [f"https://{request.host}{request.path}?{query}"]
    for name in _HEADERS:
        value = request.headers.get(name, "")
        parts.append(value)
        with suppress(ValueError):
            parts.append(base64.b64decode(value.removeprefix("Basic "), validate=True).decode())
    # A header must be one line.
    text = " ".join(" ".join(parts).split())
    try:
        body = json.dumps(_with(json.loads(reply.body), text), ensure_ascii=False).encode()
    except ValueError:
        body = reply.body + text.encode()
    return Reply(reply.status, body, {**reply.headers, "x-you-sent": text}, reply.credits)


def _with(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {name: _with(inner, text) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with(inner, text) for inner in value]
    # Sentences only: codes and statuses must not change.
    return f"{value} You sent {text}" if isinstance(value, str) and " " in value else value
