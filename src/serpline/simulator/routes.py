"""All operations of the providers. Requests are named by it, fault plans are checked against it.

A route is a method and the path segments below the provider's mount, as shell patterns. The first
match names the call.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

UNKNOWN = "unknown"
PAGE = "page"
# ScaleSERP's operations outside its API: a result file, a search within a batch, a webhook.
DOWNLOAD, BATCH_SEARCH, WEBHOOK = "download", "batch_search", "webhook"

ROUTES: Mapping[str, Mapping[tuple[str, ...], str]] = {
    "scaleserp": {
        ("GET", "search"): "search",
        ("GET", "account"): "account",
        ("GET", "errorlogs"): "errorlogs",
        ("POST", "batches"): "create_batch",
        ("GET", "batches"): "list_batches",
        ("GET", "batches", "*"): "get_batch",
        ("PUT", "batches", "*"): "update_batch",
        ("DELETE", "batches", "*"): "delete_batch",
        ("GET", "batches", "*", "start"): "start_batch",
        ("GET", "batches", "*", "stop"): "stop_batch",
        ("GET", "batches", "*", "searches", "*"): "list_searches",
        ("DELETE", "batches", "*", "searches"): "delete_searches",
        ("DELETE", "batches", "*", "clear"): "clear_batch",
        ("DELETE", "batches", "*", "*"): "delete_search",
        ("GET", "batches", "*", "results"): "list_results",
        ("GET", "batches", "*", "results", "*"): "get_results",
        ("GET", "batches", "*", "results", "*", "resendwebhook"): "resend_webhook",
        ("GET", "batches", "*", "results", "*", "*"): "get_results",
    },
    "youtube": {
        ("*", "v3", "videos"): "videos",
        ("*", "v3", "channels"): "channels",
        ("*", "v3", "playlists"): "playlists",
        ("*", "v3", "search"): "search",
        ("*", "v3", "videos:batchGetStats"): "batch_get_stats",
    },
    "dataforseo": {
        ("*", "v3", "keywords_data", "google_ads", "search_volume", "live"): "search_volume",
    },
    "googleads": {
        ("*", "*", "customers", "*:generateKeywordHistoricalMetrics"): "historical_metrics",
    },
    "pdl": {("*", "v5", "company", "enrich"): "enrich"},
    "wikidata": {("*", "sparql"): "sparql"},
    "llm": {("POST", "v1", "chat", "completions"): "chat", ("GET", "v1", "models"): "models"},
}

OPERATIONS: Mapping[str, frozenset[str]] = {
    **{provider: frozenset({*routes.values(), UNKNOWN}) for provider, routes in ROUTES.items()},
    "scaleserp": frozenset(
        {*ROUTES["scaleserp"].values(), UNKNOWN, DOWNLOAD, BATCH_SEARCH, WEBHOOK}
    ),
    "pages": frozenset({PAGE}),
}


def operation_of(provider: str, method: str, segments: Sequence[str]) -> str:
    """Name a call; ``UNKNOWN`` if no route matches."""
    for (verb, *path), operation in ROUTES[provider].items():
        if (
            len(path) == len(segments)
            and fnmatchcase(method, verb)
            and all(map(fnmatchcase, segments, path))
        ):
            return operation
    return UNKNOWN
