"""The call log and the ledger: independent records of calls, answers and charges.

An entry is written before the first byte of the answer is sent, so it exists even if the connection
is then cut. Times come from the simulator's clock.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from serpline.core.clock import Clock


@dataclass(frozen=True, slots=True)
class CallEntry:
    """One call. ``status`` 0: no status is sent. ``fault``: the injected fault.

    ``attempt`` counts the calls with this identity, from 1. ``credits`` is in the provider's unit.
    """

    seq: int
    at: str
    provider: str
    operation: str
    params: Mapping[str, Any]
    identity: str
    attempt: int
    status: int
    credits: float
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """One entry of an account. Positive: spent; negative: refunded."""

    seq: int
    at: str
    provider: str
    amount: float
    reason: str
    reference: str


class Ledger:
    """The accounts of all providers. A charge above the balance is refused as a whole."""

    def __init__(self, clock: Clock, starting: Mapping[str, float]) -> None:
        self._clock = clock
        self._starting = starting
        self._spent: defaultdict[str, float] = defaultdict(float)
        self.charges: list[Charge] = []

    def __iter__(self) -> Iterator[Charge]:
        return iter(self.charges)

    def spent(self, provider: str) -> float:
        """The charges so far, minus refunds."""
        return round(self._spent[provider], 6)

    def remaining(self, provider: str) -> float:
        """The balance; infinite for a provider without credits."""
        return round(self._starting.get(provider, float("inf")) - self._spent[provider], 6)

    def charge(self, provider: str, amount: float, reason: str, reference: str) -> bool:
        """Charge ``amount``; refund a negative one. Returns False above the balance."""
        if amount > 0 and amount > self.remaining(provider):
            return False
        self._spent[provider] += amount
        self.charges.append(
            Charge(
                len(self.charges) + 1, iso(self._clock.now()), provider, amount, reason, reference
            )
        )
        return True

    def totals(self) -> dict[str, float]:
        """Spent per provider."""
        return {provider: self.spent(provider) for provider in sorted(self._spent)}


class CallLog:
    """Every received call, in the order in which the answers were decided."""

    def __init__(self, clock: Clock, *, entries_max: int, file: Path | None = None) -> None:
        self._clock = clock
        self._entries_max = entries_max
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._file: TextIO | None = file.open("a", encoding="utf-8") if file else None
        self.entries: list[CallEntry] = []
        self.dropped = 0

    def __iter__(self) -> Iterator[CallEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def record_arrival(self, provider: str, identity: str) -> tuple[str, int]:
        """Count an arrival. Returns its time and attempt number, from 1."""
        self._attempts[provider, identity] += 1
        return iso(self._clock.now()), self._attempts[provider, identity]

    def append(self, entry: CallEntry) -> None:
        """Append an entry. Above the limit, only ``dropped`` is incremented."""
        if len(self.entries) >= self._entries_max:
            self.dropped += 1
            return
        self.entries.append(entry)
        if self._file is not None:
            self._file.write(json.dumps(asdict(entry), ensure_ascii=False, default=str) + "\n")
            self._file.flush()

    def of(self, provider: str, operation: str | None = None) -> list[CallEntry]:
        """The entries of a provider, or of one of its operations."""
        return [
            entry
            for entry in self.entries
            if entry.provider == provider and operation in (None, entry.operation)
        ]

    def counts(self) -> dict[str, int]:
        """Calls per ``provider/operation``."""
        counted = Counter(f"{entry.provider}/{entry.operation}" for entry in self.entries)
        return dict(sorted(counted.items()))

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


def iso(moment: datetime) -> str:
    """An instant as ISO 8601 with milliseconds, in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
