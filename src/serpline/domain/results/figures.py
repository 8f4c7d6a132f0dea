"""What was computed about each company."""

from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, ClassVar
from uuid import UUID

from serpline.domain.results import columns as c
from serpline.domain.results.columns import Column, Row

_SHARE = "0 to 1"
_TRAFFIC = "estimated visits per month"
_TYPE = Column("organic, news or video; all: the combined DSI.")
_COMPLETENESS = Column(
    "complete, or partial with what is not known, as in: partial: volumes, relevance. Named are"
    " volumes, traffic, owners and relevance."
)
_SHARE_OF_RESULTS = Column(
    "The company's traffic divided by the traffic of all results. Null: not known, and in the"
    " combined DSI.",
    _SHARE,
)
_UNWEIGHTED = Column(
    "The share of results if every keyword counts alike: the sum of CTR · AI overview factor over"
    " its results, divided by that of all results. Known without volumes. Null: not known, and in"
    " the combined DSI.",
    _SHARE,
)
_SHARE_OF_FIRST = Column(
    "The traffic of its best result for each keyword, divided by the traffic of position 1"
    " for every collected keyword. Null: not known.",
    _SHARE,
)
_SHARE_OF_VOLUME = Column(
    "The company's traffic divided by the volume of all collected keywords. Null: not known.",
    _SHARE,
)
_CURVE = Column("The click-through curve.")
_CURVE_VERSION = Column("The version of the curve.")
_PROXY = Column("Whether the curve was measured on another type of results.")
_PLANNED = Column("Searches that the run planned.")
_COLLECTED = Column("Searches that were collected: the divisor of coverage.")


@dataclass(frozen=True, slots=True)
class Figure(Row):
    """The Digital Share Index of each company, with every component.

    One row per run, content type, market, device and company that ranks. A component that is not
    known is null, never 0.
    """

    VIEW: ClassVar[str] = "dsi"
    ORDER: ClassVar[tuple[str, ...]] = (
        "-collected_on",
        "run_id",
        "content_type",
        "market",
        "device",
        "-dsi",
        "-traffic_share",
        "-share_unweighted",
        "-coverage",
        "company",
    )

    run_id: Annotated[UUID, c.RUN]
    collected_on: Annotated[date, c.COLLECTED_ON]
    content_type: Annotated[str, _TYPE]
    market: Annotated[str, c.MARKET]
    device: Annotated[str, c.DEVICE]
    company: Annotated[str, c.COMPANY]
    company_name: Annotated[str | None, c.COMPANY_NAME]
    relation: Annotated[str | None, c.RELATION]
    landscape: Annotated[str | None, c.LANDSCAPE]
    rank: Annotated[
        int | None,
        Column("The place by DSI in its content type, market and device, from 1. Null: no DSI."),
    ]
    dsi: Annotated[
        float | None,
        Column("100 · coverage · traffic share · relevance. Null: not known.", "0 to 100"),
    ]
    completeness: Annotated[str, _COMPLETENESS]
    coverage: Annotated[
        float, Column("Keywords for which the company ranks, of those collected.", _SHARE)
    ]
    keywords_ranked: Annotated[int, Column("Searches in which the company ranks.")]
    keywords_collected: Annotated[int, _COLLECTED]
    keywords_planned: Annotated[int, _PLANNED]
    traffic_share: Annotated[float | None, _SHARE_OF_RESULTS]
    traffic: Annotated[
        float | None,
        Column("Sum of volume · CTR · AI overview factor over its results.", _TRAFFIC),
    ]
    traffic_total: Annotated[
        float | None, Column("The same sum over the results of all companies.", _TRAFFIC)
    ]
    share_unweighted: Annotated[float | None, _UNWEIGHTED]
    share_of_first: Annotated[float | None, _SHARE_OF_FIRST]
    share_of_volume: Annotated[float | None, _SHARE_OF_VOLUME]
    relevance: Annotated[
        float | None,
        Column("Mean relevance of the company's analysed URLs. Null: none was analysed.", _SHARE),
    ]
    relevance_basis: Annotated[int, Column("URLs whose relevance is known.")]
    results: Annotated[int, Column("Results of the company.")]
    unknown_volume_keywords: Annotated[
        int, Column("Its keywords whose volume is not known, imputed or left out.")
    ]
    unknown_ai_overview_keywords: Annotated[
        int, Column("Its keywords whose search did not ask for AI overviews.")
    ]
    unanalysed_results: Annotated[int, Column("Its results without a known relevance.")]
    curve: Annotated[str, _CURVE]
    curve_version: Annotated[int, _CURVE_VERSION]
    proxy: Annotated[bool, _PROXY]
    sources: Annotated[
        list[dict[str, Any]],
        Column(
            "A JSON list: for each content type in the figure the run that collected it, the day,"
            " searches planned and collected, whether it is stale, and the slot of a late snapshot."
        ),
    ]
    stale_types: Annotated[
        tuple[str, ...], Column("Content types whose searches were stale in the combined DSI.")
    ]
    late_types: Annotated[tuple[str, ...], Column("Content types from a late snapshot.")]
    merged_domains: Annotated[
        tuple[str, ...],
        Column("Domains that were merged into the company when the figure was computed."),
    ]


@dataclass(frozen=True, slots=True)
class ShareOfVoice(Row):
    """The share of voice of each company, by its three usual denominators, and unweighted.

    One row per run, content type, market, device and company that ranks. There is none of all
    content types together.
    """

    VIEW: ClassVar[str] = "share_of_voice"
    ORDER: ClassVar[tuple[str, ...]] = (
        "-collected_on",
        "run_id",
        "content_type",
        "market",
        "device",
        "-share_of_results",
        "-share_unweighted",
        "company",
    )

    run_id: Annotated[UUID, c.RUN]
    collected_on: Annotated[date, c.COLLECTED_ON]
    content_type: Annotated[str, c.CONTENT_TYPE]
    market: Annotated[str, c.MARKET]
    device: Annotated[str, c.DEVICE]
    company: Annotated[str, c.COMPANY]
    company_name: Annotated[str | None, c.COMPANY_NAME]
    relation: Annotated[str | None, c.RELATION]
    landscape: Annotated[str | None, c.LANDSCAPE]
    completeness: Annotated[str, _COMPLETENESS]
    share_of_results: Annotated[
        float | None,
        Column("The company's traffic divided by that of all results. Null: not known.", _SHARE),
    ]
    share_unweighted: Annotated[float | None, _UNWEIGHTED]
    share_of_first: Annotated[float | None, _SHARE_OF_FIRST]
    share_of_volume: Annotated[float | None, _SHARE_OF_VOLUME]
    traffic: Annotated[
        float | None,
        Column("Sum of volume · CTR · AI overview factor over its results.", _TRAFFIC),
    ]
    traffic_total: Annotated[
        float | None, Column("The same sum over the results of all companies.", _TRAFFIC)
    ]
    keywords_ranked: Annotated[int, Column("Searches in which the company ranks.")]
    keywords_collected: Annotated[int, _COLLECTED]
    keywords_planned: Annotated[int, _PLANNED]
    unknown_volume_keywords: Annotated[
        int, Column("Its keywords whose volume is not known, imputed or left out.")
    ]
    curve: Annotated[str, _CURVE]
    curve_version: Annotated[int, _CURVE_VERSION]
    proxy: Annotated[bool, _PROXY]
