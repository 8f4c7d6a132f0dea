"""Times that options give."""

import pytest

from serpline.cli.times import first_time, last_time
from serpline.domain.errors import UserError


@pytest.mark.parametrize(
    ("given", "first", "last"),
    [
        ("2026-11-30", "2026-11-30T00:00:00", "2026-11-30T23:59:59.999999"),
        ("9999-12-31", "9999-12-31T00:00:00", "9999-12-31T23:59:59.999999"),
        ("2026-11-30T00:00", "2026-11-30T00:00:00", "2026-11-30T00:00:00"),
        ("2026-11-30T00:00+01:00", "2026-11-29T23:00:00", "2026-11-29T23:00:00"),
    ],
)
def test_a_day_is_whole(given: str, first: str, last: str) -> None:
    """A span of days begins with the first one and ends with the end of the last one, in UTC."""
    assert first_time("--from", given).isoformat() == f"{first}+00:00"
    assert last_time("--to", given).isoformat() == f"{last}+00:00"


def test_no_time() -> None:
    """Other text is refused with the option."""
    with pytest.raises(UserError, match="--to='soon': must be an ISO 8601 time"):
        last_time("--to", "soon")
