"""What each phase needs, and what the figures lack without it: the one table.

Only search results are needed for a figure. Everything else enriches it. A phase without a provider
is skipped. A phase that fails leaves what it has. What is missing is unknown in the figures, and
they name it. ``doctor``, dry runs and the docs show this table. ``phases.PHASE_DEPENDENCIES`` is
the order of the phases, not their need.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from serpline.domain.names import PhaseName
from serpline.domain.providers import names_of, why_unset


class Need(StrEnum):
    """Whether a phase can do without an input: *needed*: no; *enriching*: yes."""

    NEEDED = "needed"
    ENRICHING = "enriching"


class Component(StrEnum):
    """What an enriching phase adds to a figure."""

    VOLUMES = "volumes"
    OWNERS = "owners"
    RELEVANCE = "relevance"


@dataclass(frozen=True, slots=True)
class PhaseInputs:
    """One row of the table.

    ``need``: of the figures. ``reads``: the phases whose results it reads. ``providers``: one of
    these is enough; empty: none is needed. ``helpers``: providers that it also uses if they are set
    up. ``component``: what it adds to the figure, None if only to names. ``without``: what its
    absence means.
    """

    need: Need
    without: str
    reads: Mapping[PhaseName, Need]
    providers: Sequence[str] = ()
    helpers: Sequence[str] = ()
    component: Component | None = None

    @property
    def is_needed(self) -> bool:
        """Whether no figure can do without the phase."""
        return self.need is Need.NEEDED

    @property
    def sources(self) -> str:
        """Its providers, for people."""
        needed = names_of(self.providers) or "none"
        return f"{needed}; also {names_of(self.helpers)}" if self.helpers else needed


_SEARCHES = {PhaseName.SERP_COLLECTION: Need.NEEDED}

PHASE_INPUTS: Mapping[PhaseName, PhaseInputs] = {
    PhaseName.KEYWORD_METRICS: PhaseInputs(
        Need.ENRICHING,
        "volumes are unknown, and so are traffic, traffic shares and the DSI",
        {},
        ("dataforseo",),
        component=Component.VOLUMES,
    ),
    PhaseName.SERP_COLLECTION: PhaseInputs(
        Need.NEEDED, "there are no rankings and no figures", {}, ("scaleserp",)
    ),
    PhaseName.COMPANY_ENRICHMENT_SERP: PhaseInputs(
        Need.ENRICHING,
        "companies have no names, industries and countries, only their domains",
        _SEARCHES,
        ("pdl", "wikidata"),
    ),
    PhaseName.YOUTUBE_ENRICHMENT: PhaseInputs(
        Need.ENRICHING,
        "owners of YouTube videos are unknown, so the videos count in totals and for no company",
        _SEARCHES,
        ("youtube",),
        component=Component.OWNERS,
    ),
    PhaseName.COMPANY_ENRICHMENT_YOUTUBE: PhaseInputs(
        Need.ENRICHING,
        "each YouTube channel counts as a company of its own",
        {**_SEARCHES, PhaseName.YOUTUBE_ENRICHMENT: Need.NEEDED},
        ("pdl", "wikidata"),
        ("llm",),
        component=Component.OWNERS,
    ),
    PhaseName.CONTENT_ANALYSIS: PhaseInputs(
        Need.ENRICHING,
        "relevance is unknown, and so is the DSI",
        {**_SEARCHES, PhaseName.YOUTUBE_ENRICHMENT: Need.ENRICHING},
        ("llm",),
        component=Component.RELEVANCE,
    ),
    PhaseName.DSI_CALCULATION: PhaseInputs(
        Need.NEEDED,
        "there are no figures",
        {
            **_SEARCHES,
            PhaseName.KEYWORD_METRICS: Need.ENRICHING,
            PhaseName.COMPANY_ENRICHMENT_SERP: Need.ENRICHING,
            PhaseName.YOUTUBE_ENRICHMENT: Need.ENRICHING,
            PhaseName.COMPANY_ENRICHMENT_YOUTUBE: Need.ENRICHING,
            PhaseName.CONTENT_ANALYSIS: Need.ENRICHING,
        },
    ),
}


def components_of(phases: Collection[PhaseName]) -> set[Component]:
    """What figures lack without these phases."""
    return {found for phase in phases if (found := PHASE_INPUTS[phase].component) is not None}


def needed_by(phase: PhaseName) -> list[PhaseName]:
    """The phases without whose results ``phase`` has nothing to work on."""
    return [read for read, need in PHASE_INPUTS[phase].reads.items() if need is Need.NEEDED]


def lack_of(phase: PhaseName, available: Collection[str]) -> str | None:
    """Why ``phase`` cannot work, and what is missing then; None if it can.

    ``available``: the providers that are set up.
    """
    row = PHASE_INPUTS[phase]
    why = why_unset(row.providers, available)
    return None if why is None else f"{why}: {row.without}"
