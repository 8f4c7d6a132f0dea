"""Keywords: equality."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from serpline.domain.keywords import keyword_key, normal_keyword


@given(st.text())
def test_the_key_is_stable(text: str) -> None:
    """Normalising twice changes nothing, and a keyword's key is its normal form's key."""
    assert normal_keyword(normal_keyword(text)) == normal_keyword(text)
    assert keyword_key(keyword_key(text)) == keyword_key(text)
    assert keyword_key(unicodedata.normalize("NFD", text)) == keyword_key(text)
