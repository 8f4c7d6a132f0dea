"""The seven phases of a process."""

from collections.abc import Mapping

from serpline.domain.names import PhaseName
from serpline.phases.base import Phase
from serpline.phases.company_enrichment_serp import CompanyEnrichmentSerpPhase
from serpline.phases.company_enrichment_youtube import CompanyEnrichmentYouTubePhase
from serpline.phases.content_analysis import ContentAnalysisPhase
from serpline.phases.dsi_calculation import DsiCalculationPhase
from serpline.phases.keyword_metrics import KeywordMetricsPhase
from serpline.phases.recomputation import Recomputable
from serpline.phases.serp.collection import SerpCollectionPhase
from serpline.phases.tools import Tools
from serpline.phases.youtube_enrichment import YouTubeEnrichmentPhase


def all_phases(tools: Tools) -> Mapping[PhaseName, Phase]:
    """Every phase by name."""
    phases: list[Phase] = [
        Recomputable(KeywordMetricsPhase(tools)),
        SerpCollectionPhase(tools),
        Recomputable(CompanyEnrichmentSerpPhase(tools)),
        Recomputable(YouTubeEnrichmentPhase(tools)),
        Recomputable(CompanyEnrichmentYouTubePhase(tools)),
        Recomputable(ContentAnalysisPhase(tools)),
        DsiCalculationPhase(),
    ]
    return {phase.name: phase for phase in phases}
