"""Proposed changes of schedules. Each step is a compare-and-set of the proposal's status."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from serpline.domain.schedules import ProposalKind, ProposalStatus
from serpline.store.database import IDLE_LIMIT, Connection
from serpline.store.rows import document


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """A proposal. ``version_before`` and ``version_after``: those of its acceptance."""

    id: int
    schedule_id: str
    content_type: str
    kind: ProposalKind
    change: dict[str, Any]
    evidence: dict[str, Any]
    status: ProposalStatus
    made_at: datetime
    decided_at: datetime | None
    reason: str | None
    version_before: int | None
    version_after: int | None


@dataclass(frozen=True, slots=True)
class NewProposal:
    """A proposal to store. ``evidence`` names the ``version`` whose slots it is about."""

    schedule_id: str
    content_type: str
    kind: ProposalKind
    change: Mapping[str, Any]
    evidence: Mapping[str, Any]


_COLUMNS = (
    "p.id, p.schedule_id, p.content_type, p.kind, p.change, p.evidence, p.status, p.made_at,"
    " p.decided_at, p.reason, p.version_before, p.version_after"
)
# One proposal of a content type is open at a time. A refused change is not proposed again about the
# same version.
_INSERT = text(
    "INSERT INTO schedule_proposals (schedule_id, content_type, kind, change, evidence, made_at)"
    " SELECT n.schedule_id, n.content_type, n.kind, n.change, n.evidence, :now"
    " FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(schedule_id text, content_type text,"
    " kind text, change jsonb, evidence jsonb) WHERE NOT EXISTS (SELECT FROM schedule_proposals p"
    " WHERE p.schedule_id = n.schedule_id AND p.content_type = n.content_type"
    " AND (p.status = 'open' OR p.status = 'refused' AND p.kind = n.kind AND p.change = n.change"
    " AND p.evidence -> 'version' = n.evidence -> 'version'))"
    " ON CONFLICT DO NOTHING RETURNING id, schedule_id, content_type, kind, change, evidence"
)


def _row(row: Mapping[str, Any]) -> ProposalRow:
    known = {name: value for name, value in row.items() if name != "set_config"}
    return ProposalRow(
        **{
            **known,
            "kind": ProposalKind(row["kind"]),
            "status": ProposalStatus(row["status"]),
        }
    )


async def insert(
    conn: Connection, proposals: Sequence[NewProposal], now: datetime
) -> list[tuple[int, NewProposal]]:
    """Store proposals, unless one of the content type is open or the same was refused."""
    rows = [
        {
            "schedule_id": each.schedule_id,
            "content_type": each.content_type,
            "kind": each.kind,
            "change": each.change,
            "evidence": each.evidence,
        }
        for each in proposals
    ]
    made = await conn.execute(_INSERT, {"rows": document(rows), "now": now})
    return [
        (
            row.id,
            NewProposal(
                row.schedule_id,
                row.content_type,
                ProposalKind(row.kind),
                row.change,
                row.evidence,
            ),
        )
        for row in made
    ]


async def listed(
    conn: Connection, schedule_id: str | None, *, is_open: bool, limit: int
) -> list[ProposalRow]:
    """Return proposals, newest first: of one schedule or of all (None), open ones or all."""
    rows = await conn.execute(
        text(
            f"SELECT {_COLUMNS} FROM schedule_proposals p WHERE (CAST(:schedule AS text) IS NULL"
            " OR p.schedule_id = :schedule) AND (NOT :is_open OR p.status = 'open')"
            " ORDER BY p.id DESC LIMIT :limit"
        ),
        {"schedule": schedule_id, "is_open": is_open, "limit": limit},
    )
    return [_row(dict(row)) for row in rows.mappings()]


async def get(conn: Connection, proposal_id: int) -> ProposalRow | None:
    """Return a proposal."""
    query = text(f"SELECT {_COLUMNS} FROM schedule_proposals p WHERE p.id = :id")
    row = (await conn.execute(query, {"id": proposal_id})).mappings().first()
    return _row(dict(row)) if row else None


async def open_with_specs(conn: Connection, limit: int) -> list[tuple[ProposalRow, list[Any]]]:
    """Return open proposals of changed or deleted schedules, and the newest specifications.

    A deleted schedule has none.
    """
    rows = await conn.execute(
        text(
            f"SELECT {_COLUMNS}, CASE WHEN s.status = 'deleted' THEN '[]' ELSE v.specs END AS specs"
            " FROM schedule_proposals p JOIN schedules s ON s.id = p.schedule_id"
            " JOIN schedule_versions v ON v.schedule_id = s.id AND v.version = s.version"
            " WHERE p.status = 'open' AND (s.status = 'deleted'"
            " OR s.version <> CAST(p.evidence ->> 'version' AS int)) ORDER BY p.id LIMIT :limit"
        ),
        {"limit": limit},
    )
    found = []
    for row in rows.mappings():
        known = dict(row)
        specs = known.pop("specs")
        found.append((_row(known), specs))
    return found


async def decide(
    conn: Connection,
    proposal_id: int,
    source: ProposalStatus,
    target: ProposalStatus,
    now: datetime,
    *,
    reason: str | None = None,
    versions: tuple[int, int] | None = None,
) -> bool:
    """Compare-and-set a proposal's status; False if it was not ``source``."""
    before, after = versions or (None, None)
    rows = await conn.execute(
        text(
            "UPDATE schedule_proposals SET status = :target, decided_at = :now,"
            " reason = coalesce(:reason, reason),"
            " version_before = coalesce(CAST(:before AS int), version_before),"
            " version_after = coalesce(CAST(:after AS int), version_after)"
            f" WHERE id = :id AND status = :source RETURNING id, {IDLE_LIMIT}"
        ),
        {
            "id": proposal_id,
            "source": source,
            "target": target,
            "now": now,
            "reason": reason,
            "before": before,
            "after": after,
        },
    )
    return rows.first() is not None


async def versions_made_at(
    conn: Connection, wanted: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], tuple[datetime, list[Any]]]:
    """Return when versions of schedules were made, and their specifications."""
    rows = await conn.execute(
        text(
            "SELECT v.schedule_id, v.version, v.created_at, v.specs FROM schedule_versions v"
            " JOIN jsonb_to_recordset(CAST(:wanted AS jsonb)) AS w(id text, version int)"
            " ON w.id = v.schedule_id AND w.version = v.version"
        ),
        {"wanted": json.dumps([{"id": name, "version": number} for name, number in wanted])},
    )
    return {(row.schedule_id, row.version): (row.created_at, row.specs) for row in rows}
