"""Row 17: internal addresses in every spelling and by every path, and no connection to them.

Two auditors stand outside the client: the interpreter's audit of every ``connect`` of this process
(which also keeps packets from leaving the machine), and a listening socket on the port that the
guard allows, so that only the rule about addresses protects it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from unittest.mock import patch

from harness.figures import Figure, at_least, equal, zero
from harness.forged import LITERALS, RESOLVED, watch_connects

from chaos.scorecard import Context, Row
from serpline.domain.http import HttpRequest
from serpline.net import dialer
from serpline.net.client import HttpClient
from serpline.net.errors import NetError
from serpline.net.limits import GUARDED_PORTS

NETWORKS = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
NETWORKS_6 = ("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32", "4000::/3")
# IPv6 forms of an IPv4 address: mapped, compatible, translated, NAT64, 6to4, Teredo.
CARRIERS = (
    lambda n: 0xFFFF << 32 | n,
    lambda n: n,
    lambda n: 0xFFFF << 48 | n,
    lambda n: 0x64FF9B << 96 | n,
    lambda n: 0x2002 << 112 | n << 80,
    lambda n: 0x20010000 << 96 | n ^ 0xFFFFFFFF,
)
PUBLIC = "93.184.216.34"
# URLs that would be a path on the redirecting page itself.
NOT_REDIRECTABLE = ("http:/1", "http:1", "http:\\", "http:///")


def internal_ipv4(rng: random.Random) -> IPv4Address:
    """A random address that no page may be fetched from."""
    network = IPv4Network(rng.choice(NETWORKS))
    return network[rng.randrange(network.num_addresses)]


def internal_ipv6(rng: random.Random) -> IPv6Address:
    """A random IPv6 address of a forbidden range, or one that carries a forbidden IPv4 address."""
    if rng.random() < 0.5:
        network6 = IPv6Network(rng.choice(NETWORKS_6))
        return network6[rng.randrange(network6.num_addresses)]
    return IPv6Address(rng.choice(CARRIERS)(int(internal_ipv4(rng))))


def spelled(rng: random.Random) -> str:
    """A random internal host, in a random spelling of a URL."""
    if rng.random() < 0.3:
        six = internal_ipv6(rng)
        return f"[{rng.choice((six.compressed, six.exploded, str(six).upper()))}]"
    number = int(address := internal_ipv4(rng))
    octets, last = address.packed, number & 0xFFFFFF
    mixed = [rng.choice((f"{o}", f"0x{o:x}", f"0{o:o}", f"{o:03}")) for o in octets]
    return rng.choice(
        (
            str(address), f"{address}.", f"{number}", f"0x{number:x}", f"0x{number:08X}",
            f"0{number:o}", ".".join(mixed), f"{octets[0]}.{last}", f"{octets[0]}.0x{last:x}",
            str(address).translate({48 + n: 0xFF10 + n for n in range(10)}),
            str(address).replace(".", "。"), str(address).replace(".", "%2e"),
        )
    )  # fmt: skip


@dataclass
class Trap:
    """A listening socket on every loopback address. If set, it redirects to ``redirect``."""

    port: int = 0
    accepted: int = 0
    redirect: str = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count the connection, read a head, answer."""
        self.accepted += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            head = f"302 Found\r\nLocation: {self.redirect}" if self.redirect else "200 OK"
            writer.write(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Trap]:
    """A trap on 127.0.0.1 to 127.255.255.254, which 0.0.0.0 reaches too."""
    trap = Trap()
    server = await asyncio.start_server(trap.handle, "0.0.0.0", 0)
    trap.port = server.sockets[0].getsockname()[1]
    async with server:
        yield trap


class Campaign:
    """The forms tried, and the count of answers without a typed refusal."""

    def __init__(self, trap: Trap, page: Trap) -> None:
        self.trap = trap
        self.page = page
        self.forms: set[str] = set()
        self.untyped = 0
        self.answers: Callable[[int], Sequence[str]] = lambda _asked: ["127.0.0.1"]
        self.asked = 0

    async def resolve(self, _name: str) -> Sequence[str]:
        """The client's resolver."""
        self.asked += 1
        return self.answers(self.asked)

    async def try_form(self, client: HttpClient, form: str, url: str, ways: str) -> None:
        """Try one form by each path: ``f``etch, ``s``end, ``r``edirect."""
        self.forms.add(form)
        if "f" in ways:
            await self._refused(client.fetch(HttpRequest("GET", url)))
        if "s" in ways:
            await self._refused(client.send(HttpRequest("GET", url)))
        carried = url.isascii() and url.isprintable() and not url.startswith(NOT_REDIRECTABLE)
        if "r" in ways and carried:
            self.page.redirect = url
            await self._refused(client.fetch(HttpRequest("GET", "http://page.test/")))

    async def _refused(self, attempt: Any) -> None:
        try:
            await attempt
        except NetError:
            return
        except Exception:  # noqa: BLE001  the count is the finding
            pass
        self.untyped += 1


async def campaign(context: Context) -> list[Figure]:
    """Try the known forms, then random ones, with the trap's port and without."""
    rng = context.random("forms")
    async with listening() as trap, listening() as page:
        tried = Campaign(trap, page)
        own = [("127.0.0.1", page.port), ("127.0.0.1", trap.port)]
        # The trap's port is allowed like 80 and 443, so only the other rules remain.
        ports = patch.object(dialer, "GUARDED_PORTS", GUARDED_PORTS | {trap.port})
        with watch_connects(own.__contains__) as seen, ports:
            async with HttpClient(
                resolve=tried.resolve, host_map={"page.test": f"127.0.0.1:{page.port}"}
            ) as client:
                for url in LITERALS:
                    await tried.try_form(client, url, url, "fsr")
                for _ in range(context.sized(150, 1_000)):
                    host = spelled(rng)
                    for port in ("", f":{trap.port}"):
                        await tried.try_form(client, host, f"http://{host}{port}/", "fsr")
                asked = tried.asked
                for addresses in (
                    *RESOLVED,
                    *([str(internal_ipv4(rng))] for _ in range(context.sized(40, 200))),
                    *([PUBLIC, str(internal_ipv6(rng))] for _ in range(context.sized(40, 200))),
                ):
                    tried.answers = lambda _asked, found=addresses: found  # type: ignore[misc]
                    url = f"http://www.example.com:{trap.port}/"
                    await tried.try_form(client, repr(addresses), url, "fsr")
            internal = [each for each in seen if each != own[0]]
            rebound, look_ups = await rebinding(seen, trap)
        accepted = trap.accepted
        control = await check_judges(trap, own)
    return [
        at_least("forms", len(tried.forms), 60),
        zero("connections opened", len(internal)),
        zero("connections accepted by the trap", accepted),
        zero("look-ups of forged hosts", asked),
        zero("answers without a typed refusal", tried.untyped),
        zero("connections to a rebound name", rebound),
        equal("look-ups of the rebound name", look_ups, 1),
        equal("control: auditors that see an allowed connection", control, 2),
    ]


async def rebinding(seen: list[Any], trap: Trap) -> tuple[int, int]:
    """Fetch a name whose first look-up is public and whose second is ours."""
    before, names = len(seen), 0

    async def resolve(_name: str) -> Sequence[str]:
        nonlocal names
        names += 1
        return [PUBLIC] if names == 1 else ["127.0.0.1"]

    async with HttpClient(resolve=resolve) as client:
        with suppress(NetError):
            await client.fetch(HttpRequest("GET", f"http://www.example.com:{trap.port}/"))
    return sum(address[0] != PUBLIC for address in seen[before:]), names


async def check_judges(trap: Trap, own: list[Any]) -> int:
    """Make one call to a configured provider; returns how many of the two auditors see it."""
    before = trap.accepted
    with watch_connects(own.__contains__) as seen:
        async with HttpClient(trusted_bases=[f"http://127.0.0.1:{trap.port}"]) as client:
            await client.send(HttpRequest("GET", f"http://127.0.0.1:{trap.port}/"))
    return len(seen) + trap.accepted - before


ROW = Row(
    number=17,
    test="≥ 60 SSRF forms, spelled, resolved, redirected and rebound",
    passes="0 connections",
    campaign=campaign,
    switched_off=(
        "No check of addresses: 886 connections opened, 6 accepted by the trap. Only the check at"
        " the connect switched off: 408 opened, 6 accepted."
    ),
)
