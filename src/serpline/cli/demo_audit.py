"""The demo's audit: compare the run's ledger with the simulator's own log.

The simulator keeps its log and accounts independently. If both agree, no call is missing on either
side and nothing was charged twice.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serpline.simulator.journal import CallLog

PAID_TWICE_SHOWN_MAX = 20
# The simulator logs each redirect of a page; the ledger counts the page as one call.
_PAGES, _PAGE = "pages", "page"
_REDIRECTS = (301, 302, 303, 307, 308)
# One of our credits is one request; these accounts count dollars, or nothing.
_NOT_IN_CREDITS = frozenset({"dataforseo", "wikidata", _PAGE})


def audit(log: "CallLog", report: Mapping[str, Any]) -> dict[str, Any]:
    """Compare: ``{"agrees", "calls", "credits", "paid_twice", "differences"}``.

    ``calls`` and ``credits`` are the simulator's. ``differences`` are sentences. ``paid_twice``
    lists calls that were charged more than once.
    """
    calls: Counter[str] = Counter()
    credits_: defaultdict[str, float] = defaultdict(float)
    charged: Counter[tuple[str, str]] = Counter()
    for entry in log:
        provider = _PAGE if entry.provider == _PAGES else entry.provider
        calls[provider] += 0 if provider == _PAGE and entry.status in _REDIRECTS else 1
        credits_[provider] += entry.credits
        charged[provider, entry.identity] += entry.credits > 0
    twice = [f"{provider}: {identity}" for (provider, identity), n in charged.items() if n > 1]
    differences = [
        *_differences("calls", report["calls"], calls),
        *_differences("credits", _comparable(report["credits"]), _comparable(credits_)),
    ]
    if log.dropped:
        differences.append(f"the simulator's log is full: {log.dropped:,} calls are not in it")
    return {
        "agrees": not differences and not twice,
        "calls": dict(sorted(calls.items())),
        "credits": {provider: round(n, 6) for provider, n in sorted(credits_.items())},
        "paid_twice": twice[:PAID_TWICE_SHOWN_MAX],
        "differences": differences,
    }


def _comparable(credits_: Mapping[str, float]) -> dict[str, float]:
    return {name: n for name, n in credits_.items() if name not in _NOT_IN_CREDITS}


def _differences(
    what: str, ledger: Mapping[str, float], simulator: Mapping[str, float]
) -> Iterator[str]:
    for provider in sorted(ledger.keys() | simulator.keys()):
        ledger_total, simulator_total = ledger.get(provider, 0), simulator.get(provider, 0)
        if ledger_total != simulator_total:
            yield (
                f"{what} of {provider}: {ledger_total:,} by the ledger,"
                f" {simulator_total:,} by the simulator"
            )


def summary_line(found: Mapping[str, Any]) -> str:
    """Summarise the audit in one line."""
    total = sum(found["calls"].values())
    if found["agrees"]:
        return f"The simulator's own log agrees: {total:,} calls, none missing, none paid twice."
    problems = [*found["differences"], *(f"paid twice: {call}" for call in found["paid_twice"])]
    return "The simulator's own log does NOT agree: " + "; ".join(problems)
