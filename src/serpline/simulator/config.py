"""Configuration of a simulated world: seed, day, keys, limits and timing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from serpline.core.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``calls`` in any ``seconds``. One more gets the provider's own error."""

    calls: int
    seconds: float


# Documented by the vendors. Absent: no call limit (YouTube limits units per day).
DOCUMENTED_LIMITS: Mapping[str, RateLimit] = {
    "scaleserp/list_batches": RateLimit(60, 60.0),
    "scaleserp/errorlogs": RateLimit(60, 60.0),
    "dataforseo": RateLimit(12, 60.0),
    "googleads": RateLimit(1, 1.0),
    "pdl": RateLimit(1_000, 60.0),
}


@dataclass(frozen=True, slots=True)
class BatchTiming:
    """How long a batch stays in each state, on the simulator's clock."""

    queued_seconds: float = 0.2
    running_seconds: float = 0.2
    running_seconds_per_search: float = 0.0002
    adding_seconds_per_search: float = 0.000_02
    webhook_timeout_seconds: float = 5.0
    webhook_retries_max: int = 5
    webhook_backoff_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """One simulated world.

    ``day``: the simulated calendar day; None follows ``clock`` (UTC).
    ``keys``: provider → key, instead of the derived ``sim-…`` keys.
    ``credits``: provider → starting balance.
    ``limits``: provider or ``provider/operation`` → limit; overrides the documented limit. None
    removes it.
    ``latency_seconds``: provider → delay of every reply.
    ``faults``: a plan as in ``simulator.faults``.
    ``log_file``: gets one JSON line per call.
    ``directory``: for the CA's certificate; None: a temporary directory.
    ``port``, ``pages_port``: 0: any free port.
    ``batch_zone``: the time zone of the ScaleSERP account, in which its batches are scheduled.
    ``search_credits``: ScaleSERP's charge per page of a search.
    ``llm_dialect``: the vendor whose API the language model imitates (``simulator.llm_dialects``).
    """

    seed: int = 1
    day: date | None = None
    clock: Clock = field(default_factory=SystemClock)
    host: str = "127.0.0.1"
    port: int = 0
    pages_port: int = 0
    directory: Path | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    credits: Mapping[str, float] = field(default_factory=dict)
    limits: Mapping[str, RateLimit | None] = field(default_factory=dict)
    latency_seconds: Mapping[str, float] = field(default_factory=dict)
    timing: BatchTiming = field(default_factory=BatchTiming)
    batch_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    faults: Sequence[Mapping[str, Any]] = ()
    log_file: Path | None = None
    llm_dialect: str = "openai"
    search_credits: int = 1
    restricted_words: Sequence[str] = ("cocaine", "heroin", "ammunition")
    results_per_page: int = 1_000
    log_entries_max: int = 2_000_000

    def key(self, provider: str) -> str:
        """The key, password or token that ``provider`` accepts."""
        return self.keys.get(provider, f"sim-{provider}-{self.seed:04d}-key")

    def starting_credits(self, provider: str) -> float:
        """The starting balance of ``provider``, in its own unit."""
        return self.credits.get(provider, DEFAULT_CREDITS.get(provider, float("inf")))

    def limit(self, provider: str, operation: str) -> tuple[str, RateLimit] | None:
        """The limit of a call and the name it is counted under; None: no limit."""
        for name in (f"{provider}/{operation}", provider):
            if name in self.limits:
                limit = self.limits[name]
                return None if limit is None else (name, limit)
            if name in DOCUMENTED_LIMITS:
                return name, DOCUMENTED_LIMITS[name]
        return None


DEFAULT_CREDITS: Mapping[str, float] = {
    "scaleserp": 1_000_000,
    "dataforseo": 1_000.0,
    "pdl": 100_000,
}
