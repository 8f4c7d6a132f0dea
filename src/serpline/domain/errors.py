"""What can go wrong, named once.

``UserError`` is a person's mistake: one line, exit code 2, never a traceback. ``ProviderError`` is
what an external API did; its category and permanence are decided by the provider's own
``errors.py``, never guessed from a text later on. ``CallRefused`` is our own guard saying "not
now": the call was never made, so no attempt is burned.
"""

from datetime import datetime
from enum import StrEnum

# So much is kept of the text of what went wrong.
ERROR_CHARS_MAX = 500


class UserError(Exception):
    """A mistake in what a person gave us; the message names the thing and its value."""


class ErrorCategory(StrEnum):
    """Why a call failed.

    MALFORMED is a broken reply, a sign of ill health. UNUSABLE is a whole reply whose content does
    not have the form that was asked for: a model's slip, which says nothing about its server.
    """

    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    SERVER = "server"
    NETWORK = "network"
    MALFORMED = "malformed"
    AUTH = "auth"
    QUOTA = "quota"
    BAD_REQUEST = "bad_request"
    REFUSED_BY_PEER = "refused_by_peer"
    EMPTY = "empty"
    UNUSABLE = "unusable"
    INTERNAL = "internal"
    POISON = "poison"


class ProviderError(Exception):
    """A call to an external API failed.

    ``permanent``: repeating the same request cannot help. ``retry_after_seconds``: what the
    provider asked for, uncapped. ``breaker_failure``: whether this says the provider is unwell
    (429, other 4xx and a broken page do not). ``http_status`` is None when no reply came.
    The message never contains a key or a full URL.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str,
        category: ErrorCategory,
        permanent: bool = False,
        retry_after_seconds: float | None = None,
        http_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.category = category
        self.permanent = permanent
        self.retry_after_seconds = retry_after_seconds
        self.http_status = http_status

    @property
    def breaker_failure(self) -> bool:
        """Whether a circuit breaker should count it: only signs that the provider is unwell."""
        return self.category in _UNWELL


_UNWELL = frozenset(
    {ErrorCategory.TIMEOUT, ErrorCategory.SERVER, ErrorCategory.NETWORK, ErrorCategory.MALFORMED}
)


class CallRefused(Exception):  # noqa: N818  a refusal, not an error of ours
    """The guard did not let the call through: breaker, limiter, budget, quota or lease.

    ``until``: when to look again; None when only an event can tell. ``waits_on``: the breaker
    whose closing is that event. ``permanent``: no waiting ends it (the run's own budget is spent).
    """

    def __init__(
        self,
        reason: str,
        *,
        until: datetime | None = None,
        waits_on: str | None = None,
        permanent: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until
        self.waits_on = waits_on
        self.permanent = permanent


class LeaseLost(Exception):  # noqa: N818
    """This worker no longer owns the chunk: stop, settle nothing, call nothing."""
