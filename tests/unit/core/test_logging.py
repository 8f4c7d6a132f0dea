"""What is logged goes to stderr, and no secret goes with it."""

import subprocess
import sys

import pytest

SECRET = "s3cret/of this+process"
CODE = f"""
import logging
from serpline.core.logging import configure, get

configure("DEBUG", json_lines=JSON, secrets=({SECRET!r}, "short"))
get("x").debug("told", action="a", url="https://x.test/?k={SECRET}", short="short")
logging.getLogger("any.library").debug("GET %s", "?k=s3cret%2Fof+this%2Bprocess")
try:
    raise ValueError({SECRET!r})
except ValueError:
    get("x").exception("failed", action="b")
    logging.getLogger("any.library").exception("failed")
"""


@pytest.mark.parametrize("json_lines", [False, True])
def test_no_line_and_no_traceback_shows_a_secret(json_lines: bool) -> None:
    """Ours and any library's lines, at DEBUG, with exceptions, are without secrets."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("JSON", str(json_lines))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == ""
    assert done.stderr.count("REDACTED") == 4
    assert "s3cret" not in done.stderr
    assert "short" in done.stderr
