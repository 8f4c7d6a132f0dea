"""Replies of PDL, Wikidata and YouTube, damaged at random: a typed value or a ProviderError."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serpline.domain.companies import Company
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, ProviderCall
from serpline.providers.pdl.client import PdlClient
from serpline.providers.wikidata.client import WikidataClient
from serpline.providers.youtube.client import YouTubeClient
from serpline.providers.youtube.wire import Channel, SearchPage, Video

DOCUMENTS = Path(__file__).parent / "documents"
PDL = PdlClient(base_url="http://x", api_key="k", now=lambda: datetime(2026, 3, 1, tzinfo=UTC))
WIKIDATA = WikidataClient(
    base_url="http://x", contact="c", now=lambda: datetime(2026, 3, 1, tzinfo=UTC)
)
YOUTUBE = YouTubeClient(
    base_url="http://x", api_key="k", now=lambda: datetime(2026, 3, 1, tzinfo=UTC)
)
CHANNEL_IDS = ["UCnorthwindnorthwindnor0", "UChiddenhiddenhiddenhid1"]

SUBJECTS: dict[str, tuple[str, ProviderCall[Any]]] = {
    "pdl": ("pdl_company.json", PDL.enrich("northwind.com")),
    "wikidata": (
        "wikidata_companies.json",
        WIKIDATA.companies_by_domains(["northwind.com", "fabrikam.org"])[0],
    ),
    "videos": ("youtube_videos.json", YOUTUBE.videos(["aaaaaaaaaa1", "bbbbbbbbbb2"])),
    "channels": ("youtube_channels.json", YOUTUBE.channels(CHANNEL_IDS)),
    "handle": ("youtube_channels.json", YOUTUBE.channel_by_handle("@northwind")),
    "search": ("youtube_search.json", YOUTUBE.search("x")),
}

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\x00", "\ud800", "-1", "1e400", "9" * 400, "NaN", 2**63, -1, 1e300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
STATUSES = st.sampled_from([200, 200, 200, 200, 204, 302, 400, 401, 402, 403, 404, 429, 500, 503])
HEADERS = st.dictionaries(
    st.sampled_from(
        ["retry-after", "x-ratelimit-reset", "x-call-credits-spent", "content-type", "date"]
    ),
    st.text(max_size=30) | st.sampled_from(["1e999", "9" * 30, "-5", "9999-12-31T23:59:59Z"]),
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON document, the root not included."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [found for key, child in inner for found in [(*at, key), *paths(child, (*at, key))]]


@st.composite
def damaged(draw: Callable[..., Any], document: Any) -> bytes:
    """The document with one to four places replaced or removed, and now and then cut short."""
    mutant = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 4))):
        places = paths(mutant)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder = mutant
        for step in way:
            holder = holder[step]
        if draw(st.booleans()):
            holder[last] = draw(JSON_VALUES)
        else:
            del holder[last]
    body = json.dumps(mutant).encode()
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 9)) == 0 else body


def outcome(call: ProviderCall[Any], given: HttpReply) -> tuple[Any, ProviderError | None]:
    """What parsing came to; any other exception is the test's failure."""
    try:
        return call.parse(given), None
    except ProviderError as error:
        return None, error


def check_value(value: Any) -> None:
    """Fails unless ``value`` is made of what the signatures promise, storable in PostgreSQL."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            assert isinstance(key, str)
            check_value(inner)
    elif isinstance(value, tuple):
        for inner in value:
            check_value(inner)
    elif is_dataclass(value):
        assert isinstance(value, Company | Video | Channel | SearchPage)
        for field in fields(value):
            check_value(getattr(value, field.name))
    elif isinstance(value, str):
        value.encode()
        assert "\x00" not in value
    elif isinstance(value, int):
        assert not isinstance(value, bool)
        assert 0 <= value < 2**63
    else:
        assert value is None or isinstance(value, datetime)


@pytest.mark.parametrize("subject", SUBJECTS)
@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_reply_is_a_typed_value_or_a_provider_error(
    subject: str, data: st.DataObject
) -> None:
    """No damage to a document, its status or its headers makes parse raise anything else."""
    name, call = SUBJECTS[subject]
    body = data.draw(damaged(json.loads((DOCUMENTS / name).read_bytes())))
    given_reply = HttpReply(status=data.draw(STATUSES), headers=data.draw(HEADERS), body=body)
    if call.billed is not None:
        assert call.billed(given_reply) >= 0
    value, error = outcome(call, given_reply)
    if error is None:
        check_value(value)
    else:
        assert error.provider == call.provider
        assert error.retry_after_seconds is None or error.retry_after_seconds >= 0


@pytest.mark.parametrize("subject", SUBJECTS)
@given(body=st.binary(max_size=200), status=STATUSES, headers=HEADERS)
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_are_a_provider_error(
    subject: str, body: bytes, status: int, headers: dict[str, str]
) -> None:
    """Noise is a failure, whatever its status."""
    with pytest.raises(ProviderError):
        SUBJECTS[subject][1].parse(HttpReply(status=status, headers=headers, body=body))
