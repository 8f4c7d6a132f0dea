"""The URL of a database: read, shown without its passwords, and what the driver is told."""

import re
from secrets import token_hex
from typing import Any, Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from serpline.domain.errors import UserError

SETTING: Final = "SERPLINE_DATABASE_URL"
# An @ after the one that ends the password: it is unescaped. Values of the query may hold one.
_STRAY_AT: Final = re.compile(r"\w[\w+]*://[^:/]*:[^@]*@(?:(?!\?\w+=).)*@", re.DOTALL)
_SCHEMES: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
CONNECT_TIMEOUT_SECONDS: Final = 10
# The server truncates names at 63 bytes; ours end with a unique suffix.
_NAME_LENGTH_MAX: Final = 40
# The server ends the transaction of a frozen process, and so its locks, by the time the process is
# declared dead. JIT costs more than it saves for statements of milliseconds. READ COMMITTED,
# whatever the server's default: a statement after a lock must see the state after the lock. The
# pool uses its newest connection first, so the server ends those that only a burst needed; the next
# burst replaces them. Times are shown as they come, so they come in UTC.
_SERVER_OPTIONS: Final = (
    "-c jit=off -c idle_in_transaction_session_timeout=20s -c idle_session_timeout=60s"
    r" -c timezone=UTC -c default_transaction_isolation=read\ committed"
)


def parse_url(url: str) -> URL:
    """Return the URL with our driver. Raises ``UserError`` with the passwords masked.

    An @ in the password must be escaped: otherwise the driver's messages show the rest as the host.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise UserError(f"{SETTING}={_masked(url)}: not a URL of a PostgreSQL database") from None
    if _STRAY_AT.match(url):
        raise UserError(f"{SETTING}={_masked(url)}: an @ in the password must be written %40")
    if parsed.drivername not in _SCHEMES:
        raise UserError(f"{SETTING}={shown(parsed)}: must start with postgresql://")
    if not parsed.database:
        raise UserError(f"{SETTING}={shown(parsed)}: names no database")
    return parsed.set(drivername="postgresql+psycopg")


def one_line(message: str, *secrets: str) -> str:
    """Return a driver's message on one line, without ``secrets``."""
    flat = " ".join(message.split())
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        flat = flat.replace(secret, "***")
    return flat


def driver_arguments(url: URL, application_name: str) -> dict[str, Any]:
    """Return limits on connecting and on a silent network; the URL's query takes precedence."""
    given = {name: value for name, value in url.query.items() if isinstance(value, str)}
    options = " ".join(part for part in (_SERVER_OPTIONS, given.get("options")) if part)
    name = given.get("application_name", application_name)
    name = name.encode("ascii", "replace").decode()[:_NAME_LENGTH_MAX]
    return {
        "application_name": f"{name} {token_hex(4)}",
        "client_encoding": "utf8",
        "connect_timeout": given.get("connect_timeout", CONNECT_TIMEOUT_SECONDS),
        "keepalives_idle": given.get("keepalives_idle", 30),
        "keepalives_interval": given.get("keepalives_interval", 10),
        "keepalives_count": given.get("keepalives_count", 3),
        "tcp_user_timeout": given.get("tcp_user_timeout", 60_000),
        "options": options,
    }


def shown(url: URL) -> str:
    url = url.update_query_dict(dict.fromkeys(filter(_is_secret, url.query), "***"))
    return url.render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def without_secrets(url: URL) -> URL:
    """Return the URL as libpq reads it, without passwords."""
    query = {name: value for name, value in url.query.items() if not _is_secret(name)}
    return URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)


def _is_secret(key: str) -> bool:
    """Whether the key is ``password``, ``sslpassword`` or similar."""
    return "password" in key.lower()


def secrets_of(url: URL) -> list[str]:
    """Return all passwords in the URL."""
    found = [] if url.password is None else [url.password]
    for key, values in url.normalized_query.items():
        found += values if _is_secret(key) else ()
    return found


def _masked(text: str) -> str:
    """Return an invalid URL with everything that may be a password hidden."""
    hidden = re.sub(r"(?s)//.*@", "//***@", text)
    return one_line(re.sub(r"(?i)(password=)[^&\s]*", r"\1***", hidden))
