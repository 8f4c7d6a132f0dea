"""The errors of the whole package.

``UserError`` is a person's mistake: one line, exit code 2, no traceback. ``ProviderError`` is a
failed call to an external API. The provider's own ``errors.py`` decides its category and
permanence; no other code guesses them from text. ``CallRefused`` is our guard's "not now": the call
was never made, so it uses no attempt.
"""

from datetime import datetime
from enum import StrEnum

from serpline.domain.waits import WaitReason

# Characters of an error's text that are stored.
ERROR_CHARS_MAX = 500


class UserError(Exception):
    """A mistake in a person's input. The message names the key and its value."""


class ConfigurationError(UserError):
    """The settings of a process are invalid. Starting it again cannot help."""


class ErrorCategory(StrEnum):
    """Why a call failed.

    ACCESS_DENIED: the site or the provider does not give this to us. NOT_FOUND: it does not exist.
    MALFORMED is a broken reply, a sign that the provider is unhealthy. UNUSABLE is an intact reply
    whose content does not have the requested form: a model's mistake, not its server's.
    """

    RATE_LIMIT = "rate_limit"
    TIMEOUT = "timeout"
    SERVER = "server"
    NETWORK = "network"
    MALFORMED = "malformed"
    AUTH = "auth"
    QUOTA = "quota"
    BAD_REQUEST = "bad_request"
    ACCESS_DENIED = "access_denied"
    NOT_FOUND = "not_found"
    EMPTY = "empty"
    UNUSABLE = "unusable"
    INTERNAL = "internal"
    POISON = "poison"


class ProviderError(Exception):
    """A call to an external API failed.

    ``permanent``: repeating the same request cannot help. ``retry_after_seconds``: the wait that
    the provider asked for, uncapped. ``http_status`` is None when no reply came. The message never
    contains a key or a full URL.
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
        """Whether a circuit breaker counts this failure.

        It counts signs of an unhealthy provider. A 429, other 4xx and a broken page are none.
        """
        return self.category in _UNHEALTHY


_UNHEALTHY = frozenset(
    {ErrorCategory.TIMEOUT, ErrorCategory.SERVER, ErrorCategory.NETWORK, ErrorCategory.MALFORMED}
)


class CallRefused(Exception):  # noqa: N818  a refusal, not our error
    """The guard refused the call: breaker, limiter, budget, quota or lease.

    ``until``: when to try again; None if that depends on an event. ``waits_on``: the breaker whose
    closing is that event. ``permanent``: waiting does not help (the run's own budget is spent).
    ``wait``: what a run then waits for; None if only for a moment.
    """

    def __init__(
        self,
        reason: str,
        *,
        until: datetime | None = None,
        waits_on: str | None = None,
        permanent: bool = False,
        wait: WaitReason | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.until = until
        self.waits_on = waits_on
        self.permanent = permanent
        self.wait = wait


class ReplyNotStored(CallRefused):
    """The call may only be answered by a stored reply, and there is none. Waiting cannot help."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: no reply is stored, and no call is made", permanent=True)


class LeaseLost(Exception):  # noqa: N818
    """This worker no longer owns the chunk. Stop, settle nothing, call nothing."""
