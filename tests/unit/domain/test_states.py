"""The state machines are exactly those of the design."""

from collections.abc import Mapping
from enum import StrEnum

import pytest

from serpline.domain.states import (
    BATCH_MACHINE,
    CHUNK_MACHINE,
    ENDED_LANES,
    ENDED_RUNS,
    ITEM_MACHINE,
    LANE_MACHINE,
    LIVE_ITEMS,
    MACHINES,
    RUN_MACHINE,
    BatchStatus,
    BreakerState,
    ChunkStatus,
    LaneStatus,
    RunStatus,
    ScheduleStatus,
    SlotOutcome,
    StateStatus,
    change,
)

AnyMachine = Mapping[tuple[StrEnum, str], StrEnum]

# The design's section 4, one line per event: from which states to which.
DESIGN: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "run": {
        "start": ("pending", "running"),
        "complete": ("running", "completed"),
        "complete_with_errors": ("running", "completed_with_errors"),
        "fail": ("running", "failed"),
        "cancel": ("pending running paused", "cancelled"),
        "pause": ("running", "paused"),
        "resume": ("paused", "running"),
        "retry": ("completed completed_with_errors failed cancelled", "running"),
    },
    "lane": {
        "start": ("pending", "running"),
        "complete": ("running", "completed"),
        "fail": ("running", "failed"),
        "skip": ("pending", "skipped"),
        "block": ("pending", "blocked"),
        "cancel": ("pending running", "cancelled"),
        "retry": ("failed blocked completed skipped cancelled", "pending"),
    },
    "item": {
        "begin": ("pending retry_wait", "processing"),
        "hand_over": ("pending processing retry_wait", "waiting"),
        "complete": ("pending processing waiting retry_wait", "completed"),
        "fail": ("pending processing waiting retry_wait", "failed"),
        "skip": ("pending processing waiting retry_wait", "skipped"),
        "retry_later": ("pending processing waiting retry_wait", "retry_wait"),
        "retry": ("failed", "pending"),
    },
    "chunk": {
        "claim": ("ready", "owned"),
        "release": ("owned", "ready"),
        "take_over": ("owned", "ready"),
        "finish": ("owned", "done"),
        "retry": ("done", "ready"),
    },
    "batch": {
        "create": ("intended", "created"),
        "fill": ("created", "filling"),
        "filled": ("filling", "filled"),
        "intend_start": ("filled", "starting"),
        "started": ("starting", "running"),
        "result": ("running", "ready"),
        "ingest": ("ready", "ingested"),
        "lose": ("intended created filling filled starting running ready", "lost"),
    },
    "breaker": {
        "opened": ("closed", "open"),
        "half_opened": ("open", "half_open"),
        "closed": ("half_open", "closed"),
        "reopened": ("half_open", "open"),
        "isolated": ("closed open half_open", "isolated"),
        "reset": ("open half_open isolated", "closed"),
    },
    "schedule": {
        "pause": ("active", "paused"),
        "resume": ("paused", "active"),
        "delete": ("active paused", "deleted"),
        "add": ("deleted", "active"),
    },
    "slot": {
        "start": ("due", "started"),
        "skip": ("due", "skipped"),
        "miss": ("due", "missed"),
        "refuse": ("due", "refused"),
        "backfill": ("skipped missed refused started backfilled", "backfilled"),
    },
}
FIRST: Mapping[str, StrEnum] = {
    "run": RunStatus.PENDING,
    "lane": LaneStatus.PENDING,
    "item": StateStatus.PENDING,
    "chunk": ChunkStatus.READY,
    "batch": BatchStatus.INTENDED,
    "breaker": BreakerState.CLOSED,
    "schedule": ScheduleStatus.ACTIVE,
    "slot": SlotOutcome.DUE,
}


@pytest.mark.parametrize("name", MACHINES)
def test_events_lead_where_the_design_says(name: str) -> None:
    """Each event of each machine leads from the design's states to the design's state."""
    machine: AnyMachine = MACHINES[name]  # type: ignore[assignment]  # read only: any will do
    found = {
        event: (
            {str(source) for source, other in machine if other == event},
            {str(target) for (_, other), target in machine.items() if other == event},
        )
        for _, event in machine
    }
    designed = {event: (set(a.split()), {b}) for event, (a, b) in DESIGN[name].items()}
    assert found == designed


@pytest.mark.parametrize("name", MACHINES)
def test_every_edge_can_be_walked(name: str) -> None:
    """Every state and every (state, event) is reachable from a machine's first state."""
    machine: AnyMachine = MACHINES[name]  # type: ignore[assignment]  # read only: any will do
    reached = {FIRST[name]}
    for _ in machine:
        reached |= {target for (source, _), target in machine.items() if source in reached}
    assert {source for source, _ in machine} <= reached
    assert reached == set(type(FIRST[name]))


def test_ended_states_accept_only_retry() -> None:
    """Ended runs, ended lanes and failed items accept only retry. Other ends accept no event."""
    assert {e for s, e in RUN_MACHINE if s in ENDED_RUNS} == {"retry"}
    assert {e for s, e in LANE_MACHINE if s in ENDED_LANES} == {"retry"}
    ended_items = set(StateStatus) - LIVE_ITEMS
    assert {(s, e) for s, e in ITEM_MACHINE if s in ended_items} == {(StateStatus.FAILED, "retry")}
    assert not {e for s, e in BATCH_MACHINE if s in (BatchStatus.INGESTED, BatchStatus.LOST)}


def test_a_change_names_all_its_sources() -> None:
    """The compare-and-set of an event has exactly the source states of that event."""
    step = change(RUN_MACHINE, "cancel")
    assert set(step.sources) == {"pending", "running", "paused"}
    assert step.target == "cancelled"


def test_an_unknown_event_is_a_key_error() -> None:
    """An unknown event is a bug, not an update of no rows."""
    with pytest.raises(KeyError, match="explode"):
        change(CHUNK_MACHINE, "explode")
