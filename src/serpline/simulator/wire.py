"""Requests and replies without any server's types."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

JSON_TYPE = "application/json; charset=utf-8"


class BadBody(ValueError):  # noqa: N818  a condition of the request, answered with a 400
    """The request's body does not match its content type."""


@dataclass(frozen=True, slots=True)
class Request:
    """A received request. ``path`` is below the provider's mount and percent-encoded."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def segments(self) -> list[str]:
        """The decoded segments of the path."""
        return [unquote(part) for part in self.path.split("/") if part]

    def json(self) -> Any:
        """Parse the body as JSON. Raises ``BadBody``."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise BadBody("the request body is not valid JSON") from None

    def fields(self) -> dict[str, Any]:
        """Parse the body, JSON or a form, as an object; {} without a body. Raises ``BadBody``."""
        if not self.body:
            return {}
        if "x-www-form-urlencoded" in self.headers.get("content-type", ""):
            try:
                return dict(parse_qsl(self.body.decode(), keep_blank_values=True))
            except UnicodeDecodeError:
                raise BadBody("the form is not UTF-8") from None
        value = self.json()
        if not isinstance(value, dict):
            raise BadBody("the request body is not a JSON object")
        return value


@dataclass(slots=True)
class Reply:
    """A reply. ``credits``: its charge, in the provider's unit."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    credits: float = 0.0


@dataclass(frozen=True, slots=True)
class Operation:
    """A described request, before it is carried out.

    ``params`` are for the log and contain no secret. ``match`` adds parameters for fault rules.
    Requests for the same thing have the same ``identity``.
    """

    name: str
    params: Mapping[str, Any]
    identity: str
    match: Mapping[str, Any] = field(default_factory=dict)


class Provider(Protocol):
    """One simulated API."""

    name: str

    def describe(self, request: Request) -> Operation:
        """Name the operation. Never raises, for any request."""

    async def handle(self, request: Request, operation: Operation) -> Reply:
        """Carry out the request and answer as the vendor does, errors included."""

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """The vendor's own reply for ``status`` (401, 402, 429, 500, 503)."""


def json_reply(
    status: int, value: Any, headers: Mapping[str, str] | None = None, *, billed: float = 0.0
) -> Reply:
    """A reply with ``value`` as UTF-8 JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(status, body, {"content-type": JSON_TYPE, **(headers or {})}, billed)


def identity_of(operation: str, params: Mapping[str, Any]) -> str:
    """The canonical text of an operation and its parameters, in any order."""
    text = json.dumps(params, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return f"{operation} {text}"


def retry_headers(retry_after: object) -> dict[str, str]:
    """A ``Retry-After`` header with exactly the given value, even an invalid one."""
    return {} if retry_after is None else {"retry-after": str(retry_after)}
