"""What the settings mean."""

import pytest

from serpline.core.settings import load


@pytest.mark.parametrize(
    ("base", "key", "is_set_up"),
    [
        ("https://api.openai.com", "", False),
        ("https://api.openai.com/v1", "", False),
        ("https://api.openai.com/v1", "sk-1", True),
        ("http://localhost:11434", "", True),
    ],
)
def test_whether_there_is_a_model(base: str, key: str, is_set_up: bool) -> None:
    """OpenAI's own server needs a key, however its address is written; another may have none."""
    assert load(llm_base_url=base, llm_api_key=key).has_llm is is_set_up
