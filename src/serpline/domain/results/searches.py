"""What the search pages showed."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, ClassVar
from uuid import UUID

from serpline.domain.results import columns as c
from serpline.domain.results.columns import Column, Row


@dataclass(frozen=True, slots=True)
class Ranking(Row):
    """One row per result of a search page.

    A planned search without a result has one row: "not ranked" if its page was collected, "not
    collected" if not.
    """

    VIEW: ClassVar[str] = "rankings"
    ORDER: ClassVar[tuple[str, ...]] = (
        "-collected_on",
        "run_id",
        "keyword",
        "market",
        "content_type",
        "device",
        "rank",
    )
    FOUND: ClassVar[str | None] = "state <> 'not collected'"

    run_id: Annotated[UUID, c.RUN]
    collected_on: Annotated[date, c.COLLECTED_ON]
    content_type: Annotated[str, c.CONTENT_TYPE]
    market: Annotated[str, c.MARKET]
    device: Annotated[str, c.DEVICE]
    keyword_id: Annotated[int, c.KEYWORD_ID]
    keyword: Annotated[str, c.KEYWORD]
    tags: Annotated[tuple[str, ...], c.TAGS]
    landscape: Annotated[str | None, c.LANDSCAPE]
    state: Annotated[str, Column("ranked, not ranked or not collected.")]
    rank: Annotated[
        int | None, Column("The result's number among the results of its type, from 1.")
    ]
    position: Annotated[
        int | None, Column("The result's place on the whole page, from 1, on which the CTR rests.")
    ]
    url: Annotated[str | None, Column("The result's address as the page had it.")]
    title: Annotated[str | None, Column("The result's title.")]
    domain: Annotated[str | None, Column("The registrable domain of the address.")]
    company: Annotated[str | None, c.COMPANY]
    company_name: Annotated[str | None, c.COMPANY_NAME]
    relation: Annotated[str | None, c.RELATION]
    search_volume: Annotated[int | None, c.VOLUME]
    volume_unknown_reason: Annotated[str | None, c.VOLUME_UNKNOWN]
    collected_at: Annotated[
        datetime | None, Column("When the page was collected. Null: not collected.", "UTC")
    ]
    late_for: Annotated[datetime | None, c.LATE_FOR]


@dataclass(frozen=True, slots=True)
class Serp(Row):
    """One row per planned search: keyword, market, device and content type."""

    VIEW: ClassVar[str] = "serps"
    ORDER: ClassVar[tuple[str, ...]] = (
        "-collected_on",
        "run_id",
        "keyword",
        "market",
        "content_type",
        "device",
    )
    FOUND: ClassVar[str | None] = "state = 'collected'"

    run_id: Annotated[UUID, c.RUN]
    collected_on: Annotated[date, c.COLLECTED_ON]
    content_type: Annotated[str, c.CONTENT_TYPE]
    market: Annotated[str, c.MARKET]
    device: Annotated[str, c.DEVICE]
    keyword_id: Annotated[int, c.KEYWORD_ID]
    keyword: Annotated[str, c.KEYWORD]
    tags: Annotated[tuple[str, ...], c.TAGS]
    landscape: Annotated[str | None, c.LANDSCAPE]
    state: Annotated[str, Column("collected or not collected.")]
    results: Annotated[
        int | None, Column("Results of the type on the page. 0: not ranked by anyone.")
    ]
    total_results: Annotated[
        int | None, Column("Results that the search engine estimates. Null: it gave no number.")
    ]
    ai_overview: Annotated[
        bool | None,
        Column("Whether the page shows an AI overview. Null: the search did not ask."),
    ]
    search_volume: Annotated[int | None, c.VOLUME]
    volume_unknown_reason: Annotated[str | None, c.VOLUME_UNKNOWN]
    source: Annotated[str | None, Column("The provider that collected the page.")]
    collected_at: Annotated[
        datetime | None, Column("When the page was collected. Null: not collected.", "UTC")
    ]
    late_for: Annotated[datetime | None, c.LATE_FOR]
