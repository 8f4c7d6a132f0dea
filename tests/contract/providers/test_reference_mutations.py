"""Randomly damaged replies of PDL, Wikidata and YouTube: a typed value or a ProviderError."""

import json
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from harness.replies import DOCUMENTS, SUBJECTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from serpline.domain.companies import Company
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, ProviderCall
from serpline.providers.youtube.wire import Channel, Playlist, SearchPage, Video

# Each in a tuple, so that null is a value too.
HURTFUL: tuple[tuple[Any], ...] = (
    (None,),
    (True,),
    (0,),
    (-1,),
    (1.5,),
    (2**63,),
    (10**400,),
    (1e300,),
    ("",),
    ("x",),
    ("-1",),
    ("1e400",),
    ("9" * 400,),
    ("٣",),
    ("a\x00b",),
    ("\ud800",),
    ([],),
    (["x"],),
    ([[]],),
    ({},),
    ({"x": {}},),
)
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
# Mostly 200: only then is a document parsed.
STATUSES = st.sampled_from([200] * 36 + [204, 302, 400, 401, 402, 403, 404, 429, 500, 503])
HEADERS = st.dictionaries(
    st.sampled_from(
        ["retry-after", "x-ratelimit-reset", "x-call-credits-spent", "content-type", "date"]
    ),
    st.text(max_size=30) | st.sampled_from(["1e999", "9" * 30, "-5", "9999-12-31T23:59:59Z"]),
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path in a JSON document, without the root."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [found for key, child in inner for found in [(*at, key), *paths(child, (*at, key))]]


@st.composite
def damaged(draw: Callable[..., Any], document: bytes) -> bytes:
    """The document with one to four values replaced or removed, sometimes cut short."""
    mutant = json.loads(document)
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
    """The result of parsing; any other exception fails the test."""
    try:
        return call.parse(given), None
    except ProviderError as error:
        return None, error


ADAPTERS = {
    kind: {name: TypeAdapter(hint) for name, hint in get_type_hints(kind).items()}
    for kind in (Company, Video, Channel, Playlist, SearchPage)
}


def check_value(value: Any) -> None:
    """Fails unless ``value`` is exactly what the signatures promise, storable in PostgreSQL."""
    if isinstance(value, dict):
        for key, inner in value.items():
            check_text(key)
            check_value(inner)
    elif value is not None:
        for name, adapter in ADAPTERS[type(value)].items():
            part = getattr(value, name)
            adapter.validate_python(part, strict=True)
            if isinstance(part, int):
                assert 0 <= part < 2**63
            for text in part if isinstance(part, tuple) else (part,):
                if isinstance(text, str):
                    check_text(text)


def check_text(text: str) -> None:
    assert "\x00" not in text
    assert text.encode() or text == ""


def check(call: ProviderCall[Any], given: HttpReply) -> None:
    """Fails unless the reply parses to a typed value or a ProviderError."""
    value, error = outcome(call, given)
    if error is None:
        check_value(value)
    else:
        assert error.provider == call.provider
        assert error.retry_after_seconds is None or error.retry_after_seconds >= 0


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_single_damage_is_a_typed_value_or_a_provider_error(subject: str) -> None:
    """Each value of a document in turn removed, or replaced by each troublesome value."""
    name, call = SUBJECTS[subject]
    raw = (DOCUMENTS / name).read_bytes()
    for *way, last in paths(json.loads(raw)):
        for bad in (*HURTFUL, None):
            mutant = json.loads(raw)
            holder = mutant
            for step in way:
                holder = holder[step]
            if bad is None:
                del holder[last]
            else:
                (holder[last],) = bad
            check(call, HttpReply(200, {}, json.dumps(mutant).encode()))


@pytest.mark.parametrize("subject", SUBJECTS)
@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_reply_is_a_typed_value_or_a_provider_error(
    subject: str, data: st.DataObject
) -> None:
    """No damage to a document, its status or its headers makes parse raise anything else."""
    name, call = SUBJECTS[subject]
    body = data.draw(damaged((DOCUMENTS / name).read_bytes()))
    given_reply = HttpReply(status=data.draw(STATUSES), headers=data.draw(HEADERS), body=body)
    if call.billed is not None:
        assert call.billed(given_reply) >= 0
    check(call, given_reply)


@pytest.mark.parametrize("subject", SUBJECTS)
@given(body=st.binary(max_size=200), status=STATUSES, headers=HEADERS)
@settings(max_examples=200)
def test_arbitrary_bytes_are_a_provider_error(
    subject: str, body: bytes, status: int, headers: dict[str, str]
) -> None:
    """Noise is a failure, whatever its status."""
    with pytest.raises(ProviderError):
        SUBJECTS[subject][1].parse(HttpReply(status=status, headers=headers, body=body))
