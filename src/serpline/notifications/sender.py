"""Sends a message through Apprise, in a thread, within a time.

Promise: ``send`` returns within ``timeout_seconds``, whatever the service does, and never raises
for it. Neither its result nor any log line has a part of the URL.

Apprise (2.3) raises for no service: its result is false, and the reason is in the result's log
lines. Its plugins log URLs and tokens, so its loggers are silenced. Plugins have time-outs of 4 s
to connect and 4 s between bytes. URLs may raise them (``cto``, ``rto``), and they bound no slow
body. So each message has a thread and a time of ours. Plugins follow redirects by default. A
redirected POST becomes a GET without the message, and counts as sent. So redirects are off, unless
the URL has ``redirect=yes``.

Limits: a thread cannot be killed. One that goes on after its time keeps its destination's place:
the next message to it fails until the thread has ended. Other destinations are sent to.
"""

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from serpline.domain.errors import UserError
from serpline.notifications.digest import Message
from serpline.notifications.urls import service_of, without_url

if TYPE_CHECKING:
    from apprise import NotifyBase

SEND_SECONDS_MAX: Final = 30.0
_UNUSABLE: Final = "Apprise cannot use this URL (serpline shows no part of it but its service)"
# Plugins name the service's own answer in these two lines, at the level of debugging.
_ANSWERS: Final = ("Response Details", "Socket Exception")
_APP_NAME: Final = "serpline"
_LOG_URLS: Final = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib", "MARKDOWN")


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the service accepted a message, and what it answered, without secrets."""

    is_sent: bool
    words: str


# Writes the message for a service that accepts texts of so many characters.
Compose = Callable[[int], Message]


class Sender:
    """Sends for one process. At most one thread per destination."""

    def __init__(self, timeout_seconds: float = SEND_SECONDS_MAX) -> None:
        self.timeout_seconds = timeout_seconds
        self._threads: dict[str, threading.Thread] = {}

    async def send(self, destination: str, url: SecretStr, compose: Compose) -> Answer:
        """Send the message that ``compose`` writes."""
        last = self._threads.get(destination)
        if last is not None and last.is_alive():
            return Answer(is_sent=False, words="the last attempt is still without an answer")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()

        def work() -> None:
            answer = _send(url, compose)
            try:
                loop.call_soon_threadsafe(_resolve, answered, answer)
            except RuntimeError:
                return  # the loop was closed, because the process ends

        # A daemon: a service that does not answer keeps no process from ending.
        thread = threading.Thread(target=work, name=f"notify {destination}", daemon=True)
        self._threads[destination] = thread
        thread.start()
        try:
            async with asyncio.timeout(self.timeout_seconds):
                return await answered
        except TimeoutError:
            words = f"no answer within {self.timeout_seconds:g} s; the message may have arrived"
            return Answer(is_sent=False, words=words)


def check_url(url: SecretStr) -> None:
    """Refuse a URL that Apprise cannot use. Raises ``UserError`` without the URL."""
    if _service(url) is None:
        service = service_of(url.get_secret_value())
        raise UserError(f"URL of service {service!r}: {_UNUSABLE}")


def _resolve(answered: "asyncio.Future[Answer]", answer: Answer) -> None:
    if not answered.done():
        answered.set_result(answer)


def _send(url: SecretStr, compose: Compose) -> Answer:
    secret = url.get_secret_value()
    try:
        service = _service(url)
        if service is None:
            return Answer(is_sent=False, words=_UNUSABLE)
        message = compose(service.body_maxlen)
        apprise = _apprise()
        sending = apprise.Apprise(asset=service.asset)
        sending.add(service)
        result = sending.notify(
            body=message.body,
            title=message.title,
            notify_type=message.level.value,
            body_format=apprise.NotifyFormat.TEXT,
            log_level=logging.DEBUG,
        )
        return Answer(_is_delivered(result), without_url(_words(result), secret))
    except Exception as error:  # noqa: BLE001  a plugin's bug must not show the URL in a traceback
        return Answer(is_sent=False, words=without_url(f"{type(error).__name__}: {error}", secret))


def _is_delivered(result: Any) -> bool:
    """Whether the service accepted it: a URL with ``optional=yes`` makes every result true."""
    success = _apprise().AppriseResultStatus.SUCCESS
    return any(attempt.status == success for one in result.results for attempt in one.attempts)


def _words(result: Any) -> str:
    """The plugin's own words: its warnings and errors, then what the service answered."""
    lines = list(result.logs())
    told = [line.message for line in lines if line.level in ("WARNING", "ERROR", "CRITICAL")]
    told += [line.message for line in lines if line.message.startswith(_ANSWERS)]
    return " ".join(dict.fromkeys(told)) or "accepted" if told or result else "no reason is known"


def _service(url: SecretStr) -> "NotifyBase | None":
    """The plugin of a URL; None if there is none, or the URL does not fit it."""
    apprise = _apprise()
    asset = apprise.AppriseAsset(
        http_redirects=False,
        async_mode=False,
        pgp_autogen=False,
        pem_autogen=False,
        # Our own time bounds the call. Apprise's would move it to a thread that we cannot end with.
        service_timeout=0,
        app_id=_APP_NAME,
        app_desc=_APP_NAME,
    )
    found: NotifyBase | None = apprise.Apprise.instantiate(url.get_secret_value(), asset=asset)
    return found


@cache
def _apprise() -> Any:
    """Import Apprise when it is first needed (0.3 s, 20 MB).

    Its loggers and those of the HTTP library below it write URLs, also in warnings. Results have
    the lines about a service's answer only at the level of debugging.
    """
    for name in _LOG_URLS:
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
    logging.getLogger(_LOG_URLS[0]).setLevel(logging.DEBUG)
    # Names the host, for a URL with ``verify=no``.
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    import apprise

    return apprise
