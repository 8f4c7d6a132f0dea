"""The JSON document of rows that PostgreSQL reads."""

import json
from types import MappingProxyType
from typing import Any
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from serpline.domain.text import storable
from serpline.store.rows import document

TEXTS = st.text(st.characters() | st.sampled_from("\0\ud800\udfff\\u0"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.just("key") | TEXTS, inner, max_size=2)
    ),
)


@given(st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), max_size=3))
@example([{"a": "\\u0000"}])
@example([{"a": "\\", "b": "\0"}])
@example([{"a": MappingProxyType({"b": (UUID(int=1),)})}])
def test_the_document_holds_every_value_made_storable(rows: list[dict[str, Any]]) -> None:
    """Whether values must be replaced or not."""
    written = document(rows)
    assert json.loads(written) == json.loads(json.dumps(storable(rows), default=str))
    assert written.encode()


def test_names_in_a_document_are_made_storable_too() -> None:
    """PostgreSQL refuses a whole document for the name of one member."""
    assert json.loads(document([{"a": {"b\0": {"\ud800": 1}}}])) == [
        {"a": {"b\ufffd": {"\ufffd": 1}}}
    ]
