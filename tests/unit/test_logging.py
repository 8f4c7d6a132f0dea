"""Log lines go to stderr, whichever that is when they are written."""

import io

import pytest

from serpline.core.logging import get


def test_a_replaced_and_closed_stderr_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger that has written to one stderr writes to the next one when that is gone."""
    log = get("here")
    first, second = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", first)
        log.warning("one", action="told")
    first_text = first.getvalue()
    first.close()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", second)
        log.warning("two", action="told")
    assert "one" in first_text
    assert "two" in second.getvalue()
