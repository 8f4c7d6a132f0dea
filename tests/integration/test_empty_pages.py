"""How pages without content are stored and counted."""

from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from serpline.store.database import Database
from serpline.store.results.empty_pages import empty_pages
from serpline.store.runs import runs

_ROW = text(
    "INSERT INTO content_analyses (run_id, content_type, subject, market, empty_kind, relevance,"
    " judged_for, sentiment, content_kind, topics, brands, summary, model, prompt, fetched_at)"
    " VALUES (:run, :type, :subject, :market, :kind, :relevance, '{}', :word, :word, '{}', '{}',"
    " :word, :word, :word, now())"
)


async def put(
    db: Database, *rows: tuple[str, str, str, str | None, float | None, str | None]
) -> object:
    """A run with these rows: type, subject, market, kind, relevance, and the texts."""
    run_id = uuid4()
    names = ("type", "subject", "market", "kind", "relevance", "word")
    async with db.transaction() as conn:
        await runs.create(conn, run_id, mode="manual", config={}, lanes=[])
        for row in rows:
            await conn.execute(_ROW, {"run": run_id, **dict(zip(names, row, strict=True))})
        return await empty_pages(conn, run_id)


async def test_each_page_is_counted_once(db: Database) -> None:
    """A page in two markets counts once; kinds are sorted by count; content does not count."""
    found = await put(
        db,
        ("organic", "u:a", "US", "bot_check", None, None),
        ("organic", "u:a", "GB", "bot_check", None, None),
        ("organic", "u:b", "US", "login_wall", None, None),
        ("organic", "u:c", "US", "login_wall", None, None),
        ("news", "u:a", "US", "bot_check", None, None),
        ("news", "u:d", "US", None, 0.5, "x"),
    )
    assert found == [
        {"content_type": "organic", "kind": "login_wall", "pages": 2, "example": "u:b"},
        {"content_type": "news", "kind": "bot_check", "pages": 1, "example": "u:a"},
        {"content_type": "organic", "kind": "bot_check", "pages": 1, "example": "u:a"},
    ]


@pytest.mark.parametrize(
    ("kind", "relevance", "word"),
    [
        ("bot_check", 0.0, None),
        ("bot_check", None, "x"),
        (None, None, "x"),
        (None, 0.5, None),
        ("a wall", None, None),
    ],
)
async def test_kind_and_relevance_are_kept_apart(
    db: Database, kind: str | None, relevance: float | None, word: str | None
) -> None:
    """A row has either an empty kind or a complete analysis."""
    with pytest.raises(IntegrityError, match="violates check constraint"):
        await put(db, ("news", "u:a", "US", kind, relevance, word))
