"""The recorded cost of a call."""

from datetime import UTC, datetime

import pytest
from harness.guarded import call, policy, status

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.robustness.calls import CallScope, end_of, intent_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "credits_"), [(199, 0), (200, 5), (204, 5), (299, 5), (300, 0), (404, 0), (500, 0)]
)
def test_only_a_success_is_billed(code: int, credits_: int) -> None:
    """Any other status is free, unless the reply states its price."""
    made = call(price=5.0)
    intent = intent_of(made, CallScope("x", chunk_id=1, epoch=1), policy(), NOW)
    error = ProviderError("unusable", provider="example", category=ErrorCategory.MALFORMED)
    assert end_of(made, intent, NOW, status(code), error).credits == credits_
