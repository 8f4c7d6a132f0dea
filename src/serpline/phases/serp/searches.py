"""The searches of items: keys of the form ``keyword_id:market:device``, and their parameters."""

from serpline.config.run import PipelineConfig
from serpline.domain.keywords import searched
from serpline.domain.names import ContentType, Device
from serpline.providers.scaleserp.spec import SearchSpec
from serpline.store.results.inputs import KeywordItem


def item_key(item: str) -> tuple[int, str, Device]:
    """The keyword's id, the market and the device of a search."""
    keyword_id, market, device = item.split(":")
    return int(keyword_id), market, Device(device)


def search_spec(
    keyword: KeywordItem, content_type: ContentType, device: Device, config: PipelineConfig
) -> SearchSpec:
    """The search of a keyword in its market."""
    return SearchSpec(
        q=searched(keyword.keyword),
        content_type=content_type,
        device=device,
        location=keyword.location,
        google_domain=keyword.google_domain,
        gl=keyword.gl,
        hl=keyword.hl,
        include_ai_overview=asks_for_overviews(config, content_type),
    )


def asks_for_overviews(config: PipelineConfig, content_type: ContentType) -> bool:
    """Whether searches ask for AI overviews. Only organic pages have them; each is charged."""
    return config.include_ai_overview and content_type is ContentType.ORGANIC
