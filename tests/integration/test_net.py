"""The HTTP client over real sockets: pooling, TLS, redirects, and the guard on every hop."""

import asyncio
import contextlib
import errno
import ipaddress
import json
import logging
import os
import ssl
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from harness.forged import LITERALS, RESOLVED, watch_connects

from serpline.core.masking import MASK
from serpline.domain.errors import ErrorCategory, UserError
from serpline.domain.http import HttpRequest
from serpline.net import dialer
from serpline.net.client import USER_AGENT, HttpClient
from serpline.net.errors import NetError
from serpline.net.limits import ADDRESSES_MAX, BODY_MEMORY_BYTES, HEADERS_MAX

CANARY = "canary-7f3a9c/secret+value"
Answer = Callable[["ReceivedRequest"], bytes]


@dataclass(frozen=True)
class ReceivedRequest:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    """A small web server and the requests it got."""

    port: int = 0
    accepted: int = 0
    requests: list[ReceivedRequest] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def base(self) -> str:
        return f"http://{self.address}"


def reply(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@contextlib.asynccontextmanager
async def serve(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    """A server that answers every request with the bytes that ``answer`` gives."""
    site = Site()
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: site.server_names.append(name)

    handlers: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers[asyncio.current_task()] = writer
        site.accepted += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = head[0].split(" ")
                pairs = (line.split(": ", 1) for line in head[1:] if line)
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                received = ReceivedRequest(method, target, headers, body)
                site.requests.append(received)
                writer.write(answer(received))
                await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        for writer in handlers.values():
            writer.transport.abort()
        await asyncio.gather(*filter(None, handlers))


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """A server context with a certificate for ``names``."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(
            names[0], key, self.key, self.certificate.subject, names, expired
        )
        path = self.folder / f"{names[0]}-{expired}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Name | None,
    names: Sequence[str] = (),
    expired: bool = False,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    end = datetime.now(UTC) + timedelta(days=-1 if expired else 1)  # noqa: TID251  OpenSSL's clock
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=2))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        alternatives: list[x509.GeneralName] = []
        for each in names:
            with contextlib.suppress(ValueError):
                alternatives.append(x509.IPAddress(ipaddress.ip_address(each)))
                continue
            alternatives.append(x509.DNSName(each))
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(signer, hashes.SHA256())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    made = Authority(tmp_path_factory.mktemp("ca"), key, _certificate("Test CA", key, key, None))
    made.file.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
    return made


@pytest.fixture
def connections() -> Iterator[list[Any]]:
    """The addresses that sockets are connected to during the test."""
    with watch_connects() as seen:
        yield seen


def resolving(
    *answers: Sequence[str],
) -> tuple[Callable[[str], Awaitable[Sequence[str]]], list[str]]:
    """A resolver that gives ``answers`` in turn, and the names it resolved."""
    resolved: list[str] = []

    async def resolve(name: str) -> Sequence[str]:
        resolved.append(name)
        return answers[min(len(resolved), len(answers)) - 1]

    return resolve, resolved


async def refusal(attempt: Awaitable[Any]) -> NetError:
    with pytest.raises(NetError) as caught:
        await attempt
    return caught.value


# --- exchanges -----------------------------------------------------------------------------------


async def test_provider_call_reaches_the_wire_as_built() -> None:
    """Method, query, JSON body, basic auth and headers arrive, and the reply is complete."""
    async with (
        serve(lambda _: reply("201 Created", b'{"a":1}', X_Credits="3")) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        request = HttpRequest(
            "POST",
            f"{site.base}/v1/tasks?x=1",
            params={"q": "ä b"},
            headers={"X-Trace": "7"},
            json={"keyword": "ü"},
            basic_auth=("user", "password-1"),
        )
        got = await client.send(request)
    assert (got.status, got.body, got.headers["x-credits"]) == (201, b'{"a":1}', "3")
    assert got.seconds > 0
    (received,) = site.requests
    assert (received.method, received.target) == ("POST", "/v1/tasks?x=1&q=%C3%A4+b")
    assert json.loads(received.body) == {"keyword": "ü"}
    assert received.headers["authorization"] == "Basic dXNlcjpwYXNzd29yZC0x"
    assert received.headers["x-trace"] == "7"
    assert received.headers["host"] == site.address
    assert received.headers["user-agent"] == USER_AGENT


@pytest.mark.parametrize("status", ["204 No Content", "404 Not Found", "429 X", "500 X", "302 X"])
async def test_any_status_is_a_reply(status: str) -> None:
    """``send`` returns every status and follows no redirect."""
    answer = reply(status, b"" if status.startswith("204") else b"body", Location="/elsewhere")
    async with (
        serve(lambda _: answer) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        got = await client.send(HttpRequest("GET", site.base))
    assert got.status == int(status[:3])
    assert len(site.requests) == 1


async def test_connections_are_reused_by_the_same_pool_only() -> None:
    """Successive calls use one connection. A page of the same origin cannot use it."""
    async with (
        serve(lambda _: reply(body=b"ok")) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        for _ in range(5):
            await client.send(HttpRequest("GET", site.base))
        assert site.accepted == 1
        error = await refusal(client.fetch(HttpRequest("GET", site.base)))
    assert error.permanent
    assert (site.accepted, len(site.requests)) == (1, 5)


async def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy variable sends a key elsewhere."""
    async with serve(lambda _: reply()) as proxy, serve(lambda _: reply(body=b"direct")) as site:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.base)
        async with HttpClient(trusted_bases=[site.base]) as client:
            got = await client.send(HttpRequest("GET", site.base))
    assert (got.body, proxy.accepted) == (b"direct", 0)


async def test_no_cookies_are_kept() -> None:
    """A reply's cookie is not sent with the next request."""
    async with (
        serve(lambda _: reply(Set_Cookie="a=1")) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        await client.send(HttpRequest("GET", site.base))
        await client.send(HttpRequest("GET", site.base))
    assert "cookie" not in site.requests[1].headers


async def test_head_reply_announces_a_body_that_does_not_come() -> None:
    """HEAD may announce any length: no body is awaited or refused."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\nContent-Encoding: gzip\r\n\r\n"
    async with (
        serve(lambda _: answer) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        got = await client.send(HttpRequest("HEAD", site.base))
    assert (got.status, got.body) == (200, b"")


async def test_closed_client_refuses_to_send() -> None:
    """After closing, a call raises a bug's error."""
    client = HttpClient()
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await client.send(HttpRequest("GET", "https://example.com"))


async def test_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    """``size_bytes_max`` is inclusive."""
    async with (
        serve(lambda _: reply(body=bytes(1000))) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        got = await client.send(HttpRequest("GET", site.base, size_bytes_max=1000))
        assert len(got.body) == 1000
        error = await refusal(client.send(HttpRequest("GET", site.base, size_bytes_max=999)))
    assert (error.category, error.permanent) == (ErrorCategory.BAD_REQUEST, True)


def compressible(size: int) -> bytes:
    """A body full of keys, one at its end. Some lie across any boundaries."""
    return b"long-secret,abc" * (size // 15) + b"long-secret"


@pytest.mark.parametrize("size", [0, 200_000, 2_000_000])
@pytest.mark.parametrize("large", [False, True])
async def test_a_body_is_whole_and_without_the_secrets(size: int, large: bool) -> None:
    """Of any size, in memory or on disk, the body is complete except for the key."""
    body = compressible(size)
    secrets = ("long-secret", "abc")
    async with (
        serve(lambda _: reply(body=body)) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        request = HttpRequest("GET", site.base, secrets=secrets, large=large)
        got = await client.send(request)
    on_disk = large and size > BODY_MEMORY_BYTES
    assert (got.large is not None, got.body == b"") == (on_disk, on_disk)
    with got.open() as reader:
        assert reader.read() == body.replace(b"long-secret", MASK.encode())
    assert got.size_bytes == len(body.replace(b"long-secret", MASK.encode()))


@pytest.mark.parametrize("writes", [0, 1, 5])
async def test_a_full_disk_loses_no_reply(writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full, also in mid-reply, a body stays in memory.

    A large body does not fit there: its call fails and may be repeated.
    """
    body = compressible(2_000_000)
    left = iter(range(writes))
    write = os.pwrite

    def full(descriptor: int, data: memoryview, at: int) -> int:
        for _ in left:
            return write(descriptor, data, at)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    async with (
        serve(lambda _: reply(body=body)) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        request = HttpRequest("GET", site.base, secrets=("long-secret",))
        got = await client.send(request)
        assert next(left, None) is None
        error = await refusal(client.send(replace(request, large=True)))
    assert got.body == body.replace(b"long-secret", MASK.encode())
    assert (error.category, error.permanent) == (ErrorCategory.NETWORK, False)
    assert "No space left" in str(error)


async def test_the_work_of_others_keeps_no_body_waiting() -> None:
    """A body is written to disk and read while every thread of the loop's own pool is busy."""
    release = threading.Event()
    loop = asyncio.get_running_loop()
    busy = [loop.run_in_executor(None, release.wait, 30) for _ in range(40)]
    body = compressible(2_000_000)
    try:
        async with (
            serve(lambda _: reply(body=body)) as site,
            HttpClient(trusted_bases=[site.base]) as client,
        ):
            got = await client.send(HttpRequest("GET", site.base, timeout_seconds=20.0))
    finally:
        release.set()
        await asyncio.gather(*busy)
    assert got.body == body


async def test_header_count_is_limited() -> None:
    """As many headers as the limit pass; one more does not."""
    counts = iter([HEADERS_MAX - 1, HEADERS_MAX])

    def answer(_: ReceivedRequest) -> bytes:
        lines = "".join(f"x{number}: 1\r\n" for number in range(next(counts)))
        return f"HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n".encode()

    async with serve(answer) as site, HttpClient(trusted_bases=[site.base]) as client:
        assert (await client.send(HttpRequest("GET", site.base))).status == 200
        error = await refusal(client.send(HttpRequest("GET", site.base)))
    assert error.permanent
    assert "headers" in str(error)


# --- names, TLS ----------------------------------------------------------------------------------


async def test_mapped_name_is_reached_with_its_own_name_in_tls_and_host(
    authority: Authority,
) -> None:
    """A mapped page is verified under its own name, on any port."""
    tls = authority.server("shop.example.test")
    async with serve(lambda _: reply(body=b"page"), tls) as site:
        hosts = {"*.example.test": site.address}
        async with HttpClient(host_map=hosts, test_ca=authority.file) as client:
            got = await client.fetch(HttpRequest("GET", "https://shop.example.test/a"))
            await client.fetch(HttpRequest("GET", "https://shop.example.test:8443/b"))
    assert (got.body, got.url) == (b"page", "https://shop.example.test/a")
    assert site.server_names == ["shop.example.test"] * 2
    requested_hosts = [received.headers["host"] for received in site.requests]
    assert requested_hosts == ["shop.example.test", "shop.example.test:8443"]


async def test_no_encrypted_bytes_behind_a_reply_are_taken_for_the_next_one(
    authority: Authority,
) -> None:
    """A second reply that was decrypted with the first is not given to the next request."""
    record_bytes = 16_384
    body = bytes(record_bytes - len(reply(body=bytes(10_000))) + 10_000)
    answers = iter([reply(body=body) + reply(body=b"evil"), reply(body=b"third")])
    async with serve(lambda _: next(answers), authority.server("127.0.0.1")) as site:
        base = f"https://{site.address}"
        async with HttpClient(trusted_bases=[base], test_ca=authority.file) as client:
            assert (await client.send(HttpRequest("GET", base))).body == body
            error = await refusal(client.send(HttpRequest("GET", base)))
    assert (error.category, error.permanent) == (ErrorCategory.NETWORK, False)
    assert "before its request" in str(error)


@pytest.mark.parametrize("fault", ["no authority", "wrong name", "expired"])
async def test_bad_certificate_ends_the_call_before_a_request_is_sent(
    fault: str, authority: Authority
) -> None:
    """An unknown authority, another name or an expired certificate is a NETWORK error."""
    name = "other.test" if fault == "wrong name" else "shop.test"
    tls = authority.server(name, expired=fault == "expired")
    async with serve(lambda _: reply(), tls) as site:
        ca = None if fault == "no authority" else authority.file
        async with HttpClient(host_map={"shop.test": site.address}, test_ca=ca) as client:
            error = await refusal(client.fetch(HttpRequest("GET", "https://shop.test/")))
    assert (error.category, error.permanent) == (ErrorCategory.NETWORK, False)
    assert site.requests == []


async def test_test_authority_vouches_for_mapped_names_and_bases_only(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test CA is not trusted for a page that is not mapped."""
    monkeypatch.setattr(dialer, "address_refusal", lambda _: None)
    monkeypatch.setattr(dialer, "GUARDED_PORTS", range(65536))
    resolve, _ = resolving(["127.0.0.1"])
    tls = authority.server("www.site.com", "127.0.0.1")
    async with serve(lambda _: reply(), tls) as site:
        bases = [f"https://{site.address}"]
        client = HttpClient(test_ca=authority.file, resolve=resolve, trusted_bases=bases)
        async with client:
            trusted = await client.send(HttpRequest("GET", f"https://{site.address}/"))
            page = HttpRequest("GET", f"https://www.site.com:{site.port}/")
            error = await refusal(client.fetch(page))
    assert trusted.status == 200
    assert "certificate" in str(error)
    assert len(site.requests) == 1


def test_unusable_ca_file_is_named(tmp_path: Path) -> None:
    """A CA file that is missing or not PEM is a user error that names the file."""
    (tmp_path / "not.pem").write_text("nothing")
    for name in ("missing.pem", "not.pem"):
        with pytest.raises(UserError, match=f"SERPLINE_NET_TEST_CA=.*{name}"):
            HttpClient(test_ca=tmp_path / name)


async def test_second_address_is_tried_when_the_first_refuses() -> None:
    """A name with a dead and a live address is reached."""
    async with serve(lambda _: reply(body=b"ok")) as site:
        resolve, _ = resolving(["127.0.0.2", "127.0.0.1"])
        base = f"http://api.sim:{site.port}"
        async with HttpClient(trusted_bases=[base], resolve=resolve) as client:
            assert (await client.send(HttpRequest("GET", base))).body == b"ok"


async def test_unknown_name_and_closed_port_are_network_errors() -> None:
    """An unknown name and a closed port are retryable."""
    async with serve(lambda _: reply()) as site:
        gone = site.base
    bases = ["http://no-such-name.invalid", gone]
    async with HttpClient(trusted_bases=bases) as client:
        for base in bases:
            error = await refusal(client.send(HttpRequest("GET", base)))
            assert (error.category, error.permanent) == (ErrorCategory.NETWORK, False)


# --- redirects -----------------------------------------------------------------------------------


async def test_redirects_are_followed_to_the_end_without_credentials() -> None:
    """A page is followed across hosts and reports its final URL. No other host gets credentials."""

    def answer(received: ReceivedRequest) -> bytes:
        if received.headers["host"] == "a.test":
            return reply("301 Moved", b"x" * 5000, Location="http://b.test/two?x=1")
        return (
            reply("302 Found", Location="three") if "two" in received.target else reply(body=b"end")
        )

    headers = {"authorization": "Bearer abc", "accept-language": "de"}
    request = HttpRequest("GET", "http://a.test/one", params={"p": "1"}, headers=headers)
    async with serve(answer) as site, HttpClient(host_map={"*.test": site.address}) as client:
        got = await client.fetch(request)
    assert (got.body, got.url) == (b"end", "http://b.test/three")
    assert [received.target for received in site.requests] == ["/one?p=1", "/two?x=1", "/three"]
    assert "authorization" in site.requests[0].headers
    assert not any("authorization" in received.headers for received in site.requests[1:])
    assert site.requests[2].headers["accept-language"] == "de"


@pytest.mark.parametrize("allowed", [0, 1, 3])
async def test_redirects_are_counted(allowed: int) -> None:
    """A loop of redirects ends permanently after exactly the allowed number."""
    async with (
        serve(lambda _: reply("307 X", Location="/again")) as site,
        HttpClient(host_map={"a.test": site.address}) as client,
    ):
        attempt = client.fetch(HttpRequest("GET", "http://a.test/"), redirects_max=allowed)
        error = await refusal(attempt)
    assert (error.permanent, error.category) == (True, ErrorCategory.BAD_REQUEST)
    assert len(site.requests) == allowed + 1


async def test_redirect_without_location_is_a_reply() -> None:
    """A redirect without a location is returned with its body."""
    async with (
        serve(lambda _: reply("302 Found", b"here")) as site,
        HttpClient(host_map={"a.test": site.address}) as client,
    ):
        got = await client.fetch(HttpRequest("GET", "http://a.test/"))
    assert (got.status, got.body) == (302, b"here")


async def test_fetch_takes_only_what_it_can_repeat() -> None:
    """Fetching with a body, another method or an impossible limit is the caller's bug."""
    async with HttpClient() as client:
        for request in (
            HttpRequest("POST", "http://a.com"),
            HttpRequest("GET", "http://a.com", json=1),
        ):
            with pytest.raises(ValueError, match="GET or HEAD"):
                await client.fetch(request)
        with pytest.raises(ValueError, match="redirects_max=21"):
            await client.fetch(HttpRequest("GET", "http://a.com"), redirects_max=21)


# --- the guard -----------------------------------------------------------------------------------


def test_table_is_long_enough() -> None:
    """The table holds at least 60 different forms."""
    assert len(set(LITERALS)) + len(RESOLVED) >= 60


async def test_connections_are_seen_at_all(connections: list[Any]) -> None:
    """The counter works: an allowed call is one connection."""
    async with (
        serve(lambda _: reply()) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        await client.send(HttpRequest("GET", site.base))
    assert connections == [("127.0.0.1", site.port)]


@pytest.mark.parametrize("way", ["fetch", "send"])
async def test_no_forged_url_opens_a_connection(way: str, connections: list[Any]) -> None:
    """Every form in the table is refused permanently, without a lookup or a connection."""
    resolve, looked_up = resolving(["127.0.0.1"])
    async with HttpClient(resolve=resolve, trusted_bases=["http://127.0.0.1:1"]) as client:
        for url in LITERALS:
            error = await refusal(getattr(client, way)(HttpRequest("GET", url)))
            assert (error.permanent, error.category) == (True, ErrorCategory.BAD_REQUEST), url[:60]
    assert (connections, looked_up) == ([], [])


@pytest.mark.parametrize("addresses", RESOLVED)
async def test_no_name_that_leads_inside_opens_a_connection(
    addresses: list[str], connections: list[Any]
) -> None:
    """A public name with a single forbidden address, none, or too many is not connected to."""
    resolve, looked_up = resolving(addresses)
    async with HttpClient(resolve=resolve) as client:
        error = await refusal(client.fetch(HttpRequest("GET", "https://www.example.com/")))
    assert error.permanent == (0 < len(addresses) <= ADDRESSES_MAX)
    assert (connections, looked_up) == ([], ["www.example.com."])


async def test_no_redirect_leads_inside(connections: list[Any]) -> None:
    """A redirect to any form in the table stops there: only the redirecting page was reached."""
    # Left out: what no header can carry, and what is a path on the redirecting page itself.
    here = ("http:/1", "http:1", "http:\\", "http:///")
    locations = [url for url in LITERALS if url.isascii() and url.isprintable()]
    locations = [url for url in locations if not url.startswith(here)]
    targets = iter(locations)
    async with (
        serve(lambda _: reply("302 Found", Location=next(targets))) as site,
        HttpClient(host_map={"page.test": site.address}) as client,
    ):
        for location in locations:
            attempt = client.fetch(HttpRequest("GET", "http://page.test/"), redirects_max=1)
            error = await refusal(attempt)
            assert error.permanent, location[:60]
    assert len(site.requests) == len(locations) > 60
    assert set(connections) == {("127.0.0.1", site.port)}
    assert {received.headers["host"] for received in site.requests} == {"page.test"}


async def test_rebinding_name_is_resolved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checked address is the one connected to. There is no second lookup for rebinding."""
    resolve, looked_up = resolving(["93.184.216.34"], ["127.0.0.1"])
    dialled: list[tuple[str, int]] = []

    async def connect(endpoint: Any) -> Any:
        dialled.append((str(endpoint.address), endpoint.port))
        raise ConnectionRefusedError

    monkeypatch.setattr(dialer, "_connect", connect)
    async with HttpClient(resolve=resolve) as client:
        error = await refusal(client.fetch(HttpRequest("GET", "https://www.example.com/")))
    assert error.category is ErrorCategory.NETWORK
    assert dialled == [("93.184.216.34", 443)]
    assert looked_up == ["www.example.com."]


# --- redaction -----------------------------------------------------------------------------------


def shown(error: BaseException) -> str:
    chain = [error, error.__cause__, error.__context__]
    parts = [f"{each!r} {each}" for each in chain if each is not None]
    return " ".join([*parts, *traceback.format_exception(error)])


async def test_key_shows_nowhere_even_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """A key that a peer echoes in every way is in no log line, reply, URL or error."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx2", "httpcore2", "httpcore2.connection", "httpcore2.http11", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    echo = f"https://x.test/?api_key={CANARY}&q={CANARY}"
    answers = iter(
        [
            reply("200 OK", echo.encode(), X_Echo=CANARY, Link=echo),
            reply("302 Found", Location=echo),
            reply(f"200 {CANARY}"),
            f"HTTP/1.1 {CANARY} banana\r\n\r\n".encode(),
            f"HTTP/1.1 200 OK\r\n{CANARY}\r\n\r\n".encode(),
            f"HTTP/1.1 200 OK\r\nContent-Length: {CANARY}\r\n\r\n".encode(),
            f"HTTP/1.1 200 OK\r\nContent-Encoding: {CANARY}\r\nContent-Length: 1\r\n\r\nx".encode(),
            f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}\r\n".encode(),
        ]
    )
    replies, errors = [], []
    async with (
        serve(lambda _: next(answers)) as site,
        HttpClient(trusted_bases=[site.base]) as client,
    ):
        for _ in range(8):
            request = HttpRequest(
                "GET",
                f"{site.base}/{CANARY}",
                params={"api_key": CANARY},
                headers={"authorization": f"Bearer {CANARY}"},
                secrets=(CANARY,),
            )
            try:
                replies.append(await client.send(request))
            except NetError as error:
                errors.append(error)
        bad_header = HttpRequest("GET", site.base, headers={"x": f"{CANARY}\n"}, secrets=(CANARY,))
        bad_host = HttpRequest("GET", "https://canary-7f.local/", secrets=("canary-7f",))
        errors += [await refusal(client.send(request)) for request in (bad_header, bad_host)]
        assert CANARY not in repr(client)
    assert (len(replies), len(errors)) == (4, 6)
    for got in replies:
        assert "canary" not in repr(got)
        assert MASK in got.url
    for failure in errors:
        assert "canary" not in shown(failure)
        assert failure.__cause__ is failure.__context__ is None
    assert "canary" not in caplog.text
    assert f"127.0.0.1:{site.port}" not in caplog.text
