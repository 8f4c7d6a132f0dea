"""Undocumented replies: mutated bodies of every call of three providers.

The contract of ``ProviderCall``: ``parse`` gives a value or a ``ProviderError``, nothing else;
``billed`` gives a number ≥ 0 and never fails; no key comes out in a message.
"""

import copy
import json
import math
from typing import Any

import pytest
from harness.replies import ANALYSIS, CASES, COMPLETION, KEY, OWNER, SUBJECTS, scaleserp
from hypothesis import given
from hypothesis import strategies as st

from serpline.analysis.domains import registrable_domain
from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply, ProviderCall
from serpline.providers.dataforseo.wire import SearchVolumes, match
from serpline.providers.llm.analysis import Analysis
from serpline.providers.llm.owner import ChannelOwner
from serpline.providers.scaleserp.batches import ResultSet
from serpline.providers.scaleserp.records import by_custom_id
from serpline.providers.scaleserp.webhook import parse_notice
from serpline.simulator.delivery import NONSENSE

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.text(max_size=8)
    | st.sampled_from(["1", "-1", "1e999", "\x00", "\ud800", "https://[", "http://a:b", "²", KEY])
)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
CALLS = [
    *(pytest.param(call, id=name) for name, (call, _) in CASES.items()),
    *(pytest.param(call, id=f"{call.provider} {name}") for name, (_, call) in SUBJECTS.items()),
]
statuses = st.sampled_from([200, 200, 200, 200, 204, 302, 400, 401, 402, 404, 429, 500, 503])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a document."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def mutate(data: st.DataObject, document: Any) -> bytes:
    """The document with one to three values replaced, removed or repeated; or its bytes cut."""
    changed = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(0, 3))):
        path = data.draw(st.sampled_from(places(changed)))
        if not path:
            changed = data.draw(junk)
            continue
        holder = changed
        for step in path[:-1]:
            holder = holder[step]
        action = data.draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
        if action == "replace":
            holder[path[-1]] = data.draw(junk)
        elif action == "remove":
            del holder[path[-1]]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[path[-1]]))
    raw = json.dumps(changed).encode()
    if data.draw(st.integers(0, 9)) == 0:
        cut = data.draw(st.integers(0, len(raw)))
        raw = raw[:cut] + data.draw(st.binary(max_size=4))
    return raw


@pytest.mark.parametrize("name", CASES)
def test_documents_are_good(name: str) -> None:
    """Every unmutated document is an answer, so the mutations start from valid replies."""
    call, document = CASES[name]
    call.parse(HttpReply(200, {}, json.dumps(document).encode()))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("body", [*NONSENSE, b"{}"])
def test_a_200_from_a_proxy_is_no_answer(call: ProviderCall[Any], body: bytes) -> None:
    """A 200 from something in between never means "nothing found" or "done"."""
    with pytest.raises(ProviderError) as refused:
        call.parse(HttpReply(200, {}, body))
    assert refused.value.category in (ErrorCategory.MALFORMED, ErrorCategory.EMPTY)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_any_reply_is_a_value_or_a_provider_error(name: str, data: st.DataObject) -> None:
    """Every reply parses to a storable value or a keyless ``ProviderError``."""
    call, document = CASES[name]
    check(call, HttpReply(data.draw(statuses), {}, mutate(data, document)))


@pytest.mark.parametrize(("name", "answer"), [("analyse", ANALYSIS), ("owner", OWNER)])
@given(data=st.data())
def test_any_content_is_a_whole_answer_or_a_provider_error(
    name: str, answer: dict[str, Any], data: st.DataObject
) -> None:
    """A model's content is read whole and in range, or rejected."""
    body = copy.deepcopy(COMPLETION)
    body["choices"][0]["message"]["content"] = mutate(data, answer).decode("utf-8", "replace")
    check(CASES[name][0], HttpReply(200, {}, json.dumps(body).encode()))


def check(call: ProviderCall[Any], reply: HttpReply) -> None:
    """Parse and bill one reply; anything but a value or a ``ProviderError`` escapes."""
    value, message = None, ""
    try:
        value = call.parse(reply)
    except ProviderError as error:
        message = str(error)
    assert KEY not in message
    # A stored value must survive the database's encoding, so no NUL and no half pair.
    text = repr(value)
    assert "\\x00" not in text
    assert "\\ud800" not in text
    follow_up(value)
    if call.billed is not None:
        cost = call.billed(reply)
        assert math.isfinite(cost)
        assert cost >= 0


def follow_up(value: Any) -> None:
    """What a phase does next with the value."""
    if isinstance(value, SearchVolumes):
        assert set(match(["Buy Laptop", "x"], value.metrics)) == {"Buy Laptop", "x"}
        assert all(row.search_volume is None or row.search_volume >= 0 for row in value.metrics)
    if isinstance(value, ResultSet) and value.page_links:
        scaleserp.page_file(value, 1)
    if isinstance(value, Analysis):
        assert all(0 <= relevance <= 1 for relevance in value.relevances.values())
        assert list(value.relevances) == ["k", "l"]
        assert value.summary
    if isinstance(value, ChannelOwner):
        registrable_domain(value.domain)
    if isinstance(value, tuple):
        chosen = by_custom_id(r for r in value if hasattr(r, "custom_id"))
        assert all(KEY not in (record.error or "") for record in chosen.values())


@given(data=st.data())
def test_any_webhook_is_a_notice_or_nothing(data: st.DataObject) -> None:
    """A forged webhook body gives a valid notice or None, never an error."""
    document = {"batch": {"id": "B1"}, "result_set": {"id": 4, "download_links": {}}}
    hint = parse_notice(mutate(data, document))
    assert hint is None or (hint.batch_id.isascii() and hint.result_set_id >= 0)
