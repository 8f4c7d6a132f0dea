"""What a team follows: keywords and companies."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar

from serpline.domain.results import columns as c
from serpline.domain.results.columns import Column, Row


@dataclass(frozen=True, slots=True)
class Keyword(Row):
    """One row per keyword and market of the project, with its newest volume."""

    VIEW: ClassVar[str] = "keywords"
    DATED_BY: ClassVar[str | None] = None
    ORDER: ClassVar[tuple[str, ...]] = ("keyword_id", "market")

    keyword_id: Annotated[int, Column("The keyword's number, in order of import.")]
    keyword: Annotated[str, Column("The keyword in the spelling that was imported first.")]
    market: Annotated[str, c.MARKET]
    market_name: Annotated[str, Column("The market's name.")]
    language: Annotated[str, Column("The market's language, a BCP 47 tag.")]
    tags: Annotated[tuple[str, ...], Column("The keyword's tags in this market.")]
    landscapes: Annotated[tuple[str, ...], Column("The landscapes that have the keyword.")]
    search_volume: Annotated[int | None, c.VOLUME]
    volume_unknown_reason: Annotated[str | None, c.VOLUME_UNKNOWN]
    cpc: Annotated[
        float | None, Column("The cost of a click on an advertisement. Null: not known.", "US$")
    ]
    competition: Annotated[
        str | None, Column("Competition among advertisers: LOW, MEDIUM or HIGH. Null: not known.")
    ]
    competition_index: Annotated[
        int | None, Column("Competition among advertisers. Null: not known.", "0 to 100")
    ]
    monthly_searches: Annotated[
        list[dict[str, Any]] | None,
        Column("A JSON list of months with their searches. Null: not known."),
    ]
    volume_source: Annotated[str | None, Column("The provider of the volume.")]
    volume_fetched_at: Annotated[datetime | None, Column("When the volume was bought.", "UTC")]
    created_at: Annotated[datetime, Column("When the keyword was first imported.", "UTC")]


@dataclass(frozen=True, slots=True)
class Company(Row):
    """One row per company with a mark, a name, a merge or a profile (the newest one)."""

    VIEW: ClassVar[str] = "companies"
    DATED_BY: ClassVar[str | None] = None
    ORDER: ClassVar[tuple[str, ...]] = ("relation", "company")

    company: Annotated[str, Column("The company's key: its registrable domain.")]
    company_name: Annotated[str | None, c.COMPANY_NAME]
    relation: Annotated[str | None, c.RELATION]
    merged_into: Annotated[
        str | None,
        Column("The company that it counts as in figures from now on. Null: it is not merged."),
    ]
    merged_at: Annotated[datetime | None, Column("When it was merged.", "UTC")]
    found: Annotated[
        bool | None, Column("Whether a source knows the domain. Null: no source was asked.")
    ]
    source_name: Annotated[str | None, Column("The name as the source writes it.")]
    industry: Annotated[str | None, Column("The industry as the source writes it.")]
    industry_code: Annotated[
        int | None,
        Column("The industry's code in LinkedIn's Industry Codes V2. Null: it has none there."),
    ]
    industry_name: Annotated[str | None, Column("The industry's name in that scheme.")]
    industry_group: Annotated[str | None, Column("The name of the group above it in that scheme.")]
    country: Annotated[str | None, Column("The country as the source writes it.")]
    country_code: Annotated[str | None, Column("The country's code, ISO 3166-1 alpha-2.")]
    employee_count: Annotated[int | None, Column("Employees. Null: not known.")]
    size: Annotated[str | None, Column("A range of employees, such as 51-200 or 10001+.")]
    founded: Annotated[int | None, Column("The year in which the company was founded.", "year")]
    linkedin_url: Annotated[str | None, Column("The address of its page at LinkedIn.")]
    ticker: Annotated[str | None, Column("The symbol of its share.")]
    parent: Annotated[str | None, Column("The company that owns it.")]
    source: Annotated[str | None, Column("The source of the profile: pdl or wikidata.")]
    fetched_at: Annotated[datetime | None, Column("When the source was asked.", "UTC")]
