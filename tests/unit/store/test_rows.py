"""Rows as the document that PostgreSQL reads."""

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
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), max_size=3))
@example([{"a": "\\u0000"}])
@example([{"a": "\\", "b": "\0"}])
@example([{"a": MappingProxyType({"b": (UUID(int=1),)})}])
def test_the_document_holds_every_value_made_storable(rows: list[dict[str, Any]]) -> None:
    """Whether its values are walked one by one or none has to be replaced."""
    written = document(rows)
    assert json.loads(written) == json.loads(json.dumps(storable(rows), default=str))
    assert written.encode()
