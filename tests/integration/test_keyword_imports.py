"""Imports of keywords into a project: tags, and several imports at once."""

import asyncio

import pytest

from serpline.domain.errors import UserError
from serpline.domain.keywords import TAGS_MAX, KeywordRow
from serpline.store import keyword_sets, projects
from serpline.store.database import Connection, Database
from serpline.store.keyword_sets import KeywordFilter


def _row(keyword: str, *tags: str) -> KeywordRow:
    return KeywordRow(1, keyword, keyword, "US", tags)


async def _tags(conn: Connection) -> list[list[str]]:
    return [row["tags"] for row in await keyword_sets.list_pairs(conn, KeywordFilter(), 10)]


async def test_imports_of_the_same_keywords_wait_for_each_other(db: Database) -> None:
    """In whatever order they have them, both end."""
    async with db.transaction() as conn:
        await projects.ensure_builtin_markets(conn)

    async def import_in_parts(*keywords: str) -> int:
        new = 0
        async with db.transaction() as conn:
            for keyword in keywords:
                new += await projects.import_keywords(conn, [_row(keyword)])
                await asyncio.sleep(0.1)
        return new

    both = (import_in_parts("tea", "coffee"), import_in_parts("coffee", "tea"))
    assert sorted(await asyncio.gather(*both)) == [0, 2]


async def test_a_removal_waits_for_an_import(db: Database) -> None:
    """A keyword that gets another market meanwhile stays in its landscapes."""
    async with db.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        await projects.import_keywords(conn, [_row("tea")], "drinks")

    async def import_another_market() -> None:
        async with db.transaction() as conn:
            await projects.import_keywords(conn, [KeywordRow(1, "tea", "tea", "DE")])
            await asyncio.sleep(0.3)

    async def remove_the_first() -> int:
        await asyncio.sleep(0.1)
        async with db.transaction() as conn:
            return await keyword_sets.remove(conn, KeywordFilter(markets=("US",)))

    assert (await asyncio.gather(import_another_market(), remove_the_first()))[1] == 1
    async with db.transaction() as conn:
        found = await keyword_sets.list_pairs(conn, KeywordFilter(landscape="drinks"), 10)
    assert [row["market"] for row in found] == ["DE"]


async def test_imported_tags_ignore_case(db: Database) -> None:
    """The first spelling stays, as with ``keywords tag``."""
    async with db.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        await projects.import_keywords(conn, [_row("tea", "Brand", "hot")])
        await projects.import_keywords(conn, [_row("tea", "brand", "Cold")])
        assert [{*tags} for tags in await _tags(conn)] == [{"Brand", "hot", "Cold"}]


async def test_too_many_tags_are_refused_where_they_would_come_from(db: Database) -> None:
    """Of several imports together. Tags of other pairs are in nobody's way."""
    full = [f"tag {n}" for n in range(TAGS_MAX)]
    async with db.transaction() as conn:
        await projects.ensure_builtin_markets(conn)
        await projects.import_keywords(conn, [_row("tea", *full), _row("coffee")])
        await projects.import_keywords(conn, [_row("tea", "TAG 1")])
    with pytest.raises(UserError, match=r"keyword 'tea' in US would have 21 tags, over 20"):
        async with db.transaction() as conn:
            await projects.import_keywords(conn, [_row("tea", "one more"), _row("milk")])
    async with db.transaction() as conn:
        assert sorted(map(len, await _tags(conn))) == [0, TAGS_MAX]
        # Of before there was a limit.
        full_pair = KeywordFilter(patterns=("tea",))
        await keyword_sets.tag(conn, full_pair, ("one more",))
        coffee = KeywordFilter(patterns=("coffee",))
        await keyword_sets.tag(conn, coffee, ("hot",))
        await keyword_sets.require_few_tags(conn, coffee)
        with pytest.raises(UserError, match="would have 21 tags"):
            await keyword_sets.require_few_tags(conn, full_pair)
        assert await projects.import_keywords(conn, [_row("tea"), _row("milk", "hot")]) == 1
