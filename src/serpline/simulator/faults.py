"""Fault plans: rules for which calls, searches and webhooks fail, and how.

A plan is a list of rules (``docs/faults.md`` describes every fault and key):

    {"provider": "scaleserp", "operation": "start_batch", "match": {"searches_type": "news"},
     "fault": "503", "retry_after": 30, "probability": 0.5, "attempts": 2}

``provider``, ``operation`` and the values of ``match`` are shell patterns (a list: any of them).
``probability`` depends on the seed, the rule, the request and its attempt number, not on the order
of calls. ``attempts``: only the first attempts of each request. ``times``: the number of injections
in all. ``pattern``: a cycle over the matching calls, such as "FFFS" (F fails). ``times`` and
``pattern`` depend on the order of calls. ``after_seconds`` and ``for_seconds`` limit a rule to a
period of the simulator's clock, from the time the plan was set. The first rule that applies wins.

A rule that can never apply is refused: its fault does not exist for its operations, or its limits
(``times: 0``, a ``pattern`` without F) leave no call.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

from serpline.core.clock import Clock
from serpline.domain.errors import UserError
from serpline.simulator.charsets import SENTENCES
from serpline.simulator.routes import BATCH_SEARCH, DOWNLOAD, OPERATIONS, PAGE, WEBHOOK
from serpline.simulator.seeds import unit
from serpline.simulator.walls import WALLS

# The reply is complete; its content is unusual.
TEXTS = ("hostile_text", "wrapped_links")
PAGES = ("wall", "odd_charset")
STATUSES = ("401", "402", "429", "500", "503")
DELIVERIES = (
    "slow",
    "hung",
    "cut",
    "malformed",
    "truncated",
    "slowloris",
    "endless_headers",
    "huge_body",
    "gzip_bomb",
    *TEXTS,
)
SEARCHES = ("failed_searches", "missing_records", "duplicate_custom_id")
WEBHOOKS = (
    "webhook_0",
    "webhook_1",
    "webhook_2",
    "webhook_5",
    "webhook_early",
    "webhook_late",
    "webhook_forged",
    "webhook_forged_path",
    "webhook_out_of_order",
)
CALLS = (*STATUSES, *DELIVERIES)
DOWNLOADS = (*CALLS, "expired_links")
VOCABULARY = (*DOWNLOADS, *SEARCHES, *WEBHOOKS, *PAGES)
# The faults of these operations; all other operations: ``CALLS``.
_FAULTS_OF = {
    DOWNLOAD: DOWNLOADS,
    BATCH_SEARCH: SEARCHES,
    WEBHOOK: WEBHOOKS,
    PAGE: (*CALLS, *PAGES),
}
_WHICH: Mapping[str, Collection[str]] = {"wall": WALLS, "odd_charset": SENTENCES}
RULES_MAX = 1_000
SHOWN_CHARS_MAX = 80
# Faults after the provider has done, and charged for, the request.
_AFTER_WORK = frozenset({"slow", "slowloris", "cut", "malformed", "truncated", *TEXTS, *PAGES})


@dataclass(slots=True)
class Rule:
    """One rule.

    ``work``: whether the provider does, and charges for, the request; None: depends on the fault.
    ``late_seconds``: how long after its arrival, even if the client has disconnected.
    ``where``: the cut comes before any byte ("start") or in the "body".
    ``announced``: whether a huge body has a Content-Length.
    ``echo``: the error repeats the request, with its key.
    ``which``: the wall or the charset; empty: chosen by the seed.
    """

    fault: str
    provider: str = "*"
    operation: str = "*"
    match: Mapping[str, Any] = field(default_factory=dict)
    probability: float = 1.0
    attempts: int | None = None
    times: int | None = None
    pattern: str = ""
    after_seconds: float = 0.0
    for_seconds: float | None = None
    retry_after: Any = None
    seconds: float | None = None
    size_bytes: int | None = None
    work: bool | None = None
    late_seconds: float = 0.0
    where: str = "start"
    announced: bool = True
    echo: bool = False
    which: str = ""
    seen: int = 0
    used: int = 0

    @property
    def works(self) -> bool:
        """Whether the provider carries out the request."""
        return self.fault in _AFTER_WORK if self.work is None else self.work


_NUMBERS = ("probability", "after_seconds", "for_seconds", "seconds", "late_seconds")
_COUNTS = ("attempts", "times", "size_bytes")
_TEXTS = ("provider", "operation", "pattern", "where", "which")
_OPTIONAL = (*_COUNTS, "for_seconds", "seconds", "work", "retry_after")
KEYS = tuple(each.name for each in fields(Rule) if each.name not in ("seen", "used"))


def parse(plan: Any, source: str = "fault plan") -> list[Rule]:
    """Parse a plan. Raises ``UserError`` with the source, rule, key and value."""
    if isinstance(plan, Mapping):
        plan = plan.get("faults", plan)
    if not isinstance(plan, list | tuple):
        raise UserError(f"{source}: expected a list of rules, or an object with 'faults'")
    if len(plan) > RULES_MAX:
        raise UserError(f"{source}: {len(plan)} rules, at most {RULES_MAX}")
    return [_rule(f"{source}, rule {number}", given) for number, given in enumerate(plan, 1)]


def _rule(which: str, given: Any) -> Rule:
    if not isinstance(given, Mapping):
        raise UserError(f"{which}: not an object: {_short(given)}")
    for name, value in given.items():
        if name not in KEYS:
            raise UserError(f"{which}: unknown key {_short(name)}")
        if name != "fault" and not _fits(name, value):
            raise UserError(f"{which}: {name}={_short(value)} has the wrong type")
    # In YAML a bare 503 is a number.
    rule = Rule(**{**given, "fault": str(given.get("fault", ""))})
    if rule.fault not in VOCABULARY:
        raise UserError(f"{which}: unknown fault {_short(rule.fault)}")
    _check_can_strike(which, rule)
    for name, good in (
        ("probability", 0 < rule.probability <= 1),
        ("attempts", rule.attempts != 0),
        ("times", rule.times != 0),
        ("for_seconds", rule.for_seconds != 0),
        ("where", rule.where in ("start", "body")),
        ("which", not rule.which or rule.which in _WHICH.get(rule.fault, ())),
        ("pattern", not rule.pattern or {"F"} <= set(rule.pattern.upper()) <= {"F", "S"}),
    ):
        if not good:
            raise UserError(f"{which}: {name}={_short(getattr(rule, name))} is out of range")
    return rule


def _check_can_strike(which: str, rule: Rule) -> None:
    """Check that the rule matches an operation and that its fault exists there."""
    providers = [each for each in OPERATIONS if fnmatchcase(each, rule.provider)]
    if not providers:
        raise UserError(
            f"{which}: provider={_short(rule.provider)} matches none of {', '.join(OPERATIONS)}"
        )
    known = sorted(frozenset().union(*(OPERATIONS[each] for each in providers)))
    operations = [each for each in known if fnmatchcase(each, rule.operation)]
    if not operations:
        raise UserError(
            f"{which}: operation={_short(rule.operation)} matches none of {', '.join(known)}"
        )
    if not any(rule.fault in _FAULTS_OF.get(each, CALLS) for each in operations):
        raise UserError(
            f"{which}: fault={_short(rule.fault)} does not exist for"
            f" provider={_short(rule.provider)}, operation={_short(rule.operation)}"
        )


def _fits(name: str, value: Any) -> bool:
    if value is None and name in _OPTIONAL:
        return True
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if name in _NUMBERS:
        return number and value >= 0
    if name in _COUNTS:
        return number and isinstance(value, int) and value >= 0
    if name in _TEXTS:
        return isinstance(value, str)
    if name in ("work", "announced", "echo"):
        return isinstance(value, bool)
    if name == "retry_after":
        return number or isinstance(value, str)
    return isinstance(value, Mapping) and all(map(_can_match, value, value.values()))


def _can_match(name: Any, pattern: Any) -> bool:
    """Whether this is a parameter's name with a pattern, or a non-empty list of patterns."""
    patterns = pattern if isinstance(pattern, list) else [pattern]
    return (
        isinstance(name, str)
        and bool(patterns)
        and all(each is None or isinstance(each, str | int | float) for each in patterns)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"


class FaultPlan:
    """The current rules, and the time they were set."""

    def __init__(self, seed: int, clock: Clock, plan: Any = ()) -> None:
        self._seed = seed
        self._clock = clock
        self.rules: list[Rule] = []
        self._since = 0.0
        self.set(plan)

    def set(self, plan: Any) -> None:
        """Replace the plan. ``after_seconds`` counts from now. Raises ``UserError``."""
        self.rules = parse(plan)
        self._since = self._clock.monotonic()

    def call(
        self,
        provider: str,
        operation: str,
        context: Mapping[str, Any],
        identity: str,
        attempt: int,
    ) -> Rule | None:
        """The rule that applies to this attempt (from 1) of a request, or None."""
        if not self.rules:
            return None
        elapsed = self._clock.monotonic() - self._since
        possible = _FAULTS_OF.get(operation, CALLS)
        for number, rule in enumerate(self.rules):
            if (
                rule.fault in possible
                and _applies(rule, provider, operation, context)
                and rule.after_seconds <= elapsed
                and (rule.for_seconds is None or elapsed < rule.after_seconds + rule.for_seconds)
                and (rule.attempts is None or attempt <= rule.attempts)
                and self._strikes(number, rule, identity, attempt)
            ):
                rule.used += 1
                return rule
        return None

    def _strikes(self, number: int, rule: Rule, identity: str, attempt: int) -> bool:
        if rule.times is not None and rule.used >= rule.times:
            return False
        if rule.pattern:
            rule.seen += 1
            return rule.pattern[(rule.seen - 1) % len(rule.pattern)].upper() == "F"
        draw = unit(self._seed, "fault", number, rule.fault, identity, attempt)
        return draw < rule.probability


def _applies(rule: Rule, provider: str, operation: str, context: Mapping[str, Any]) -> bool:
    if not (fnmatchcase(provider, rule.provider) and fnmatchcase(operation, rule.operation)):
        return False
    for name, given in rule.match.items():
        patterns = given if isinstance(given, list) else [given]
        value = _shown(context.get(name))
        if not any(fnmatchcase(value, _shown(pattern)) for pattern in patterns):
            return False
    return True


def _shown(value: Any) -> str:
    return "" if value is None else str(value).lower()
