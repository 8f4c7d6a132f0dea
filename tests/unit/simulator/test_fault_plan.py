"""Fault rules: decided by seed and request, limited by counts, strict about typos."""

import re
from pathlib import Path
from typing import Any

import pytest

from serpline.domain.errors import UserError
from serpline.simulator import read_plan
from serpline.simulator.faults import KEYS, RULES_MAX, SHOWN_CHARS_MAX, VOCABULARY, FaultPlan, parse
from serpline.simulator.plan_file import PLAN_BYTES_MAX
from serpline.simulator.routes import OPERATIONS

from .conftest import ManualClock

DOCUMENT = (Path(__file__).parents[3] / "docs" / "faults.md").read_text(encoding="utf-8")


def plan_of(clock: ManualClock, *rules: dict[str, Any], seed: int = 1) -> FaultPlan:
    return FaultPlan(seed, clock, list(rules))


def strikes(plan: FaultPlan, identity: str = "x", attempt: int = 1, **context: Any) -> bool:
    return plan.call("pdl", "enrich", context, identity, attempt) is not None


@pytest.mark.parametrize("fault", VOCABULARY)
def test_every_fault_is_accepted(fault: str) -> None:
    """A rule needs only a fault."""
    assert parse([{"fault": fault}])[0].fault == fault


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"fault": "explode"}, "unknown fault 'explode'"),
        ({"fault": "429", "provder": "pdl"}, "unknown key 'provder'"),
        ({"fault": "429", "probability": 2}, "probability=2"),
        ({"fault": "429", "probability": 0}, "probability=0 is out of range"),
        ({"fault": "429", "times": "3"}, "times='3'"),
        ({"fault": "429", "times": 0}, "times=0 is out of range"),
        ({"fault": "429", "attempts": 0}, "attempts=0 is out of range"),
        ({"fault": "429", "for_seconds": 0}, "for_seconds=0 is out of range"),
        ({"fault": "429", "pattern": "SSs"}, "pattern='SSs' is out of range"),
        ({"fault": "429", "match": "q"}, "match='q'"),
        ({"fault": "429", "match": {"q": {"x": 1}}}, "match={'q': {'x': 1}}"),
        ({"fault": "429", "match": {"q": ["a", ["b"]]}}, "match={'q': ['a', ['b']]}"),
        ({"fault": "429", "match": {"q": []}}, "match={'q': []}"),
        ({"fault": "429", "match": {1: "a"}}, "match={1: 'a'}"),
        ({"fault": "cut", "where": "middle"}, "where='middle'"),
        ({"fault": "429", "pattern": "FXS"}, "pattern='FXS'"),
        ({"fault": "429", "seen": 3}, "unknown key 'seen'"),
        ({"fault": "429", "provider": "scalserp"}, "provider='scalserp'"),
        (
            {"fault": "429", "provider": "scaleserp", "operation": "add_searches"},
            "operation='add_searches' matches none of account, batch_search, clear_batch,"
            " create_batch",
        ),
        (
            {"fault": "429", "provider": "llm", "operation": "enrich"},
            "operation='enrich' matches none of chat, models, unknown",
        ),
        (
            {"fault": "webhook_0", "provider": "pdl"},
            "fault='webhook_0' does not exist for provider='pdl', operation='*'",
        ),
        (
            {"fault": "503", "provider": "scaleserp", "operation": "webhook"},
            "fault='503' does not exist for provider='scaleserp', operation='webhook'",
        ),
        (
            {"fault": "expired_links", "operation": "search*"},
            "fault='expired_links' does not exist",
        ),
        ({"fault": "429", "provider": "pages", "operation": "download"}, "matches none of page"),
        ({"fault": "429", "work": "yes"}, "work='yes'"),
        ({"fault": "429", "retry_after": [1]}, "retry_after=[1]"),
        ({"fault": "slow", "seconds": float("inf")}, "seconds=inf"),
        ({"fault": "slow", "seconds": True}, "seconds=True"),
        ({"probability": 0.5}, "unknown fault ''"),
        ({1: 2}, "unknown key 1"),
        ({"fault": "x" * 1_000}, "x" * (SHOWN_CHARS_MAX - 1) + "…"),
        ("429", "not an object"),
    ],
)
def test_a_bad_rule_is_one_error(rule: Any, message: str) -> None:
    """The error names the rule, the key and the value."""
    with pytest.raises(UserError, match=r"fault plan, rule 2") as caught:
        parse([{"fault": "500"}, rule])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "operation"),
    [(provider, each) for provider, known in OPERATIONS.items() for each in sorted(known)],
)
def test_a_rule_can_apply_to_every_operation(
    clock: ManualClock, provider: str, operation: str
) -> None:
    """A rule can name, and applies to, every operation of the simulator."""
    fault = {"batch_search": "failed_searches", "webhook": "webhook_0"}.get(operation, "500")
    plan = plan_of(clock, {"fault": fault, "provider": provider, "operation": operation})
    assert plan.call(provider, operation, {}, "x", 1)


def test_probability_does_not_depend_on_order(clock: ManualClock) -> None:
    """The same requests get the same faults in any order, with about the given probability."""
    rule = {"fault": "500", "probability": 0.3}
    names = [f"request {number}" for number in range(1_000)]
    forward = plan_of(clock, rule)
    fates = {name: strikes(forward, name) for name in names}
    backward = plan_of(clock, rule)
    assert {name: strikes(backward, name) for name in names[::-1]} == fates
    assert 250 < sum(fates.values()) < 350


def test_another_attempt_is_another_draw(clock: ManualClock) -> None:
    """A request that failed once may succeed later."""
    plan = plan_of(clock, {"fault": "500", "probability": 0.5})
    assert len({strikes(plan, "one", attempt) for attempt in range(1, 20)}) == 2


def test_attempts_limits_per_request(clock: ManualClock) -> None:
    """The first two attempts of each request fail, the third succeeds."""
    plan = plan_of(clock, {"fault": "500", "attempts": 2})
    for name in ("a", "b"):
        assert [strikes(plan, name, attempt) for attempt in (1, 2, 3)] == [True, True, False]


def test_times_limits_in_all(clock: ManualClock) -> None:
    """``times`` limits the injections over all requests."""
    plan = plan_of(clock, {"fault": "500", "times": 2})
    assert [strikes(plan, name) for name in "abc"] == [True, True, False]


def test_pattern_cycles_over_matching_calls(clock: ManualClock) -> None:
    """FFFS fails three of four."""
    plan = plan_of(clock, {"fault": "500", "pattern": "FFFS"})
    assert [strikes(plan, str(n)) for n in range(8)] == [True, True, True, False] * 2


async def test_a_window_opens_and_closes_on_the_clock(clock: ManualClock) -> None:
    """An outage lasts from second 10 for 5 seconds after the plan was set."""
    await clock.advance(100)
    plan = plan_of(clock, {"fault": "503", "after_seconds": 10, "for_seconds": 5})
    seen = []
    for _ in range(4):
        seen.append(strikes(plan))
        await clock.advance(5)
    assert seen == [False, False, True, False]


def test_match_compares_provider_operation_and_parameters(clock: ManualClock) -> None:
    """All must match; values are patterns, and a list means any of them."""
    rule = {
        "fault": "500",
        "provider": "p*",
        "operation": "enrich",
        "match": {"website": ["*.example", "x"], "flag": True},
    }
    plan = plan_of(clock, rule)
    assert strikes(plan, website="a.example", flag=True)
    assert not strikes(plan, website="a.test", flag=True)
    assert not strikes(plan, website="a.example")
    assert plan.call("llm", "enrich", {"website": "x", "flag": True}, "x", 1) is None


def test_the_first_rule_that_applies_wins(clock: ManualClock) -> None:
    """Earlier rules have precedence."""
    plan = plan_of(clock, {"fault": "429", "times": 1}, {"fault": "500"})
    struck = [plan.call("pdl", "enrich", {}, "x", n) for n in (1, 2)]
    assert [rule.fault for rule in struck if rule] == ["429", "500"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plan.json", '{"faults": [{"fault": "503", "retry_after": 7}]}'),
        ("plan.yaml", "faults:\n  - fault: 503\n    retry_after: 7\n"),
        ("PLAN.YML", "- {fault: '503', retry_after: 7}"),
    ],
)
def test_a_plan_is_yaml_or_json(tmp_path: Path, name: str, text: str) -> None:
    """YAML and JSON give the same plan; a bare 503 is a fault."""
    (tmp_path / name).write_text(text)
    (rule,) = parse(read_plan(tmp_path / name))
    assert (rule.fault, rule.retry_after) == ("503", 7)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b'[{"fault": "429"},\n {]', "line 2, column 3: "),
        ("a.json", b"[" * 100_000, "recursion"),
        ("a.json", b"\xff{", "byte 0: not UTF-8"),
        ("a.yaml", b"- fault: 429\n- {fault: 500", "line 2, column 14: "),
        ("a.yaml", b"- fault: !!python/object/apply:os.getcwd []", "line 1, column 10: "),
        ("a.yaml", b"- fault: \x00", "unacceptable character"),
        ("a.yaml", b"- retry_after: 2026-99-99", "month must be in 1..12"),
        (
            "a.yaml",
            b"- fault: 429\n- fault: 429\n  retry_after: 2026-11-20",
            "rule 2: retry_after=",
        ),
        ("a.yaml", b"- fault: 429\n  times: many", "rule 1: times='many' has the wrong type"),
        ("a.yaml", b"", "expected a list of rules"),
        ("a.yaml", b"[" + b"{}," * (RULES_MAX + 1) + b"]", "1001 rules, at most 1000"),
        ("a.yaml", b"#" * (PLAN_BYTES_MAX + 1), "larger than 10000000 bytes"),
        ("a.txt", b"[]", "its name must end in .json, .yaml, .yml"),
        ("missing.yaml", None, "No such file"),
    ],
)
def test_a_bad_plan_file_is_one_line(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """The line names the file and the position: line and column, or rule, key and value."""
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_plan(file)
    message = str(caught.value)
    assert message.startswith(f"fault plan {file}")
    assert message in message
    assert "\n" not in message


def test_the_documented_plan_is_one(tmp_path: Path) -> None:
    """The page's example is a valid plan, and the page describes every fault and every key."""
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    file = tmp_path / "example.yaml"
    file.write_text(example)
    assert len(parse(read_plan(file))) == 8
    for provider, operations in OPERATIONS.items():
        assert f"`{provider}`: {', '.join(f'`{each}`' for each in sorted(operations))}" in DOCUMENT
    told = set(re.findall(r"`([^`\s]+)`", DOCUMENT))
    assert {*VOCABULARY, *KEYS} - told == {"fault"}
