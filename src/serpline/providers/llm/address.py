"""The URL of a model server's chat completions, and the header of its key.

A base URL is the one in the vendor's instructions for OpenAI's client, with its path and query:
``https://api.groq.com/openai/v1``, ``https://generativelanguage.googleapis.com/v1beta/openai``,
``https://NAME.openai.azure.com/openai/deployments/MODEL?api-version=2024-10-21``. A URL without
such a path (``http://localhost:11434``) gets ``/v1``; one that ends in ``/chat/completions`` is
used unchanged.

Sources: the vendors' pages for OpenAI's client, namely developers.cloudflare.com/workers-ai
(open-ai-compatibility), docs.ollama.com/api/openai-compatibility, cookbook.openai.com
(examples/azure/chat), and QuantumNous/new-api issue 121 for Perplexity, which has no ``/v1``.
"""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

_COMPLETIONS = "/chat/completions"
_VERSION = re.compile(r"v[0-9]+(?:(?:alpha|beta)[0-9]*)?")
# Last segments without a version after them: Vertex, GitHub and Azure models, Cloudflare's gateway,
# Databricks.
_WHOLE = frozenset({"openapi", "inference", "models", "compat", "serving-endpoints"})
_WITHOUT_VERSION = frozenset({"api.perplexity.ai", "gateway.ai.cloudflare.com"})
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


def endpoint(base_url: str) -> str:
    """The URL of chat completions below ``base_url``, with its query."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if not path.endswith(_COMPLETIONS):
        path += _COMPLETIONS if _is_whole(parts.hostname or "", path) else "/v1" + _COMPLETIONS
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def key_headers(url: str, api_key: str) -> Mapping[str, str]:
    """The header with the key: ``api-key`` for Azure, else a bearer token."""
    if not api_key:
        return {}
    parts = urlsplit(url)
    azure = (parts.hostname or "").endswith(_AZURE) or "/openai/deployments/" in parts.path
    return {"api-key": api_key} if azure else {"Authorization": f"Bearer {api_key}"}


def _is_whole(host: str, path: str) -> bool:
    """Whether ``/chat/completions`` follows the path without a version between."""
    before, last = ["", *path.split("/")][-2:]
    return bool(
        host in _WITHOUT_VERSION
        or _VERSION.fullmatch(last)
        or last in _WHOLE
        or before == "deployments"
        or (last == "openai" and _VERSION.fullmatch(before))
    )
