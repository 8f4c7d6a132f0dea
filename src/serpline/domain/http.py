"""One external call as a value: what to send, and how to parse the reply.

A provider's client builds a ``ProviderCall`` and does no I/O. The guard sends it and the ledger
stores the raw reply. After a crash ``parse`` may run again on the stored reply, without paying.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, BinaryIO, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
U = TypeVar("U")


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True, repr=False)
class HttpRequest:
    """A request. Its ``repr`` shows method and host only: any other part may contain a key.

    ``secrets``: values to redact wherever the request appears. ``large``: the reply's body may
    exceed memory and is read with ``open``. ``may_send`` is called directly before each write to
    the network; False calls the request off.
    """

    method: str
    url: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    basic_auth: tuple[str, str] | None = None
    secrets: tuple[str, ...] = ()
    timeout_seconds: float = 30.0
    size_bytes_max: int = 20_000_000
    large: bool = False
    may_send: Callable[[], bool] = _always

    def __repr__(self) -> str:
        try:
            host = urlsplit(self.url).hostname or "no host"
        except ValueError:
            host = "no URL"
        if any(secret.lower() in host for secret in self.secrets if secret):
            host = "a secret host"
        return f"<HttpRequest {self.method} {host}>"


class LargeBody(Protocol):
    """A body outside memory."""

    size_bytes: int

    def open(self) -> BinaryIO:
        """A new reader at the beginning."""


@dataclass(frozen=True, slots=True, repr=False)
class HttpReply:
    """A complete reply. ``headers`` has lower-case names; ``url`` is redacted.

    A request with ``large`` may get ``large`` instead of ``body``. ``open`` reads either.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""
    seconds: float = 0.0
    large: LargeBody | None = None

    def __repr__(self) -> str:
        return f"<HttpReply {self.status}, {self.size_bytes} bytes>"

    @property
    def size_bytes(self) -> int:
        """The body's size."""
        return len(self.body) if self.large is None else self.large.size_bytes

    def open(self) -> BinaryIO:
        """A reader of the body, in memory or outside."""
        return BytesIO(self.body) if self.large is None else self.large.open()


@dataclass(frozen=True, slots=True, repr=False)
class ProviderCall(Generic[T]):
    """One operation of one provider.

    ``identity`` is the canonical request (a JSON value without keys or secrets). The ledger's key
    is made of provider, operation, identity and freshness. ``credits`` is the call's maximum cost
    in the provider's own unit; ``billed`` reads the actual cost from a reply. ``parse`` raises
    ``ProviderError`` and nothing else. ``third_party``: the address came from the web and is not
    the provider's API. It is fetched under the SSRF guard, and its failures do not count for the
    API's breaker.
    """

    provider: str
    operation: str
    request: HttpRequest
    identity: Any
    parse: Callable[[HttpReply], T]
    credits: float = 0.0
    billed: Callable[[HttpReply], float] | None = None
    third_party: bool = False

    def map_value(self, function: Callable[[T], U]) -> "ProviderCall[U]":
        """The same call, with ``function`` applied to its value. An exception in it is a bug."""
        return ProviderCall(
            self.provider,
            self.operation,
            self.request,
            self.identity,
            lambda reply: function(self.parse(reply)),
            self.credits,
            self.billed,
            self.third_party,
        )

    def __repr__(self) -> str:
        return f"<ProviderCall {self.provider} {self.operation}>"
