"""What a run would find and pay, in proportion to earlier runs of the project.

The newest run says how many things a search finds, and how much of that is still fresh. The newest
ten say what a thing costs. Without such a run, and for phases that it skipped, typical search pages
are the basis.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil

from serpline.config.run import PipelineConfig
from serpline.domain.names import ContentType, PhaseName
from serpline.pipeline.things import THINGS, TYPICAL, TYPICAL_RATES, Rates, Things, typical_things
from serpline.store.results.history import Past


def basis_of(
    past: Past | None, per_type: int, config: PipelineConfig, *, finds_new: bool
) -> tuple[Things, Rates, Mapping[PhaseName, str]]:
    """What the run buys, what it costs, and in words by phase where both come from.

    A phase on which the earlier run did not work, for want of a provider, is a typical one.
    """
    typical = typical_things(per_type, config)
    if past is None:
        return typical, TYPICAL_RATES, dict.fromkeys(PhaseName, TYPICAL)
    is_same = all(
        past.run.config.get(key) == getattr(config, key) for key in ("landscape", "keyword_limit")
    )
    reuses = is_same and not finds_new and not config.force_refresh
    fresh = past.fresh if reuses else {}
    bought = _scaled(past, per_type, config, fresh)
    basis = f"estimate: as in run {past.run.id}"
    if reuses:
        shares = [fresh[phase] for phase in fresh]
        basis += f", {min(shares, default=0):.0%} to {max(shares, default=0):.0%} of it fresh"
    unknown = {
        phase
        for phase in THINGS
        if any((phase, str(kind)) not in past.items for kind in config.content_types)
    }
    for phase in unknown:
        names = THINGS[phase]
        bought = replace(bought, **{name: getattr(typical, name) for name in names})
    bases = {phase: TYPICAL if phase in unknown else basis for phase in PhaseName}
    return bought, _rates(past), bases


def _scaled(
    past: Past, per_type: int, config: PipelineConfig, fresh: Mapping[PhaseName, float]
) -> Things:
    """The things of the earlier run that are not fresh, and those of searches it did not make."""

    depth = config.analysis_depth / past.run.config["analysis_depth"]

    def total(phase: PhaseName, *, pages_only: bool = False) -> int:
        found = 0.0
        for kind in config.content_types:
            if pages_only and kind is ContentType.VIDEO:
                continue
            searched = past.searches[str(kind)]
            per_search = past.items.get((phase, str(kind)), 0) / searched
            known = min(per_type, searched) * (1 - fresh.get(phase, 0.0))
            found += per_search * (known + max(0, per_type - searched))
        if phase is PhaseName.CONTENT_ANALYSIS:
            found *= min(depth, 1.0)
        return ceil(round(found, 6))

    return Things(
        domains=total(PhaseName.COMPANY_ENRICHMENT_SERP),
        videos=total(PhaseName.YOUTUBE_ENRICHMENT),
        channels=total(PhaseName.COMPANY_ENRICHMENT_YOUTUBE),
        pages=total(PhaseName.CONTENT_ANALYSIS, pages_only=True),
        analyses=total(PhaseName.CONTENT_ANALYSIS),
    )


def _rates(past: Past) -> Rates:
    """The rates of the earlier runs; a typical one where they made no such call."""

    def per_call(phase: PhaseName, provider: str, otherwise: float) -> float:
        calls, credits_ = past.paid.get((phase, provider), (0, 0.0))
        return credits_ / calls if calls else otherwise

    usual = TYPICAL_RATES
    owners = past.paid.get((PhaseName.COMPANY_ENRICHMENT_YOUTUBE, "llm"), (0, 0.0))[0]
    lookups = past.paid.get((PhaseName.COMPANY_ENRICHMENT_YOUTUBE, "pdl"), (0, 0.0))[0]
    return Rates(
        matched=per_call(PhaseName.COMPANY_ENRICHMENT_SERP, "pdl", usual.matched),
        tokens_per_analysis=per_call(PhaseName.CONTENT_ANALYSIS, "llm", usual.tokens_per_analysis),
        unlinked=owners / (owners + lookups) if owners and lookups else usual.unlinked,
        tokens_per_owner=per_call(
            PhaseName.COMPANY_ENRICHMENT_YOUTUBE, "llm", usual.tokens_per_owner
        ),
    )


def seconds_in_proportion(past: Past, per_type: int, config: PipelineConfig) -> float | None:
    """The earlier run's seconds without pauses, in proportion to the searches."""
    run = past.run
    if run.started_at is None or run.completed_at is None:
        return None
    took = (run.completed_at - run.started_at).total_seconds() - run.paused_seconds
    share = per_type * len(config.content_types) / sum(past.searches.values())
    return round(max(0.0, took) * share, 1)
