"""Log lines go to the current stderr, without secrets."""

import io
import json
import subprocess
import sys

import pytest

from serpline.core.logging import get

SECRET = "s3cret/of this+process"
CODE = f"""
import logging
from serpline.core.logging import configure, described, get

configure("DEBUG", json_lines=JSON, secrets=({SECRET!r}, "short"))
get("x").debug("told", action="a", url="https://x.test/?k={SECRET}", short="short")
logging.getLogger("any.library").debug("GET %s", "?k=s3cret%2Fof+this%2Bprocess")
try:
    raise ValueError({SECRET!r})
except ValueError as error:
    print(described(error))
    get("x").exception("failed", action="b")
    logging.getLogger("any.library").exception("failed")
"""


@pytest.mark.parametrize("json_lines", [False, True])
def test_no_line_and_no_traceback_shows_a_secret(json_lines: bool) -> None:
    """Our lines and any library's, at DEBUG and with exceptions, have no secrets."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.replace("JSON", str(json_lines))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "ValueError: REDACTED\n"
    assert done.stderr.count("REDACTED") == 4
    assert "s3cret" not in done.stderr
    assert "short" in done.stderr


STEERING = """
import logging
from serpline.core.logging import configure
configure("INFO")
try:
    raise ValueError("a page's title: \\x1b]0;owned\\x07 \\u202e")
except ValueError as error:
    logging.getLogger("any.library").exception("failed: %s", error)
"""


def test_a_librarys_line_steers_no_terminal() -> None:
    """A library's lines with text from the web, including exceptions, are escaped like ours."""
    done = subprocess.run(
        [sys.executable, "-c", STEERING], capture_output=True, timeout=60, check=True
    )
    stderr = done.stderr.decode()
    assert stderr.count(r"\u001b]0;owned\u0007 \u202e") == 2
    assert not {"\x1b", "\x07", "\u202e"} & set(stderr)


UNCONFIGURED = f"""
from serpline.core.logging import get

def call(api_key):
    raise ValueError("no answer")

try:
    call({SECRET!r})
except ValueError:
    get("x").exception("failed", action="b")
"""


def test_a_program_without_the_command_line_shows_no_variables() -> None:
    """Unless it configures logging itself, tracebacks are plain and go to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", UNCONFIGURED], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    assert "ValueError: no answer" in done.stderr
    assert "s3cret" not in done.stderr


def test_a_programs_own_logging_is_left_alone() -> None:
    """Importing the package does not change a structlog that is already configured."""
    code = (
        "import structlog; structlog.configure(processors=[structlog.processors.JSONRenderer()]);"
        "from serpline.core.logging import get; get('x').warning('told')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == {"event": "told", "room": "x"}


def test_a_replaced_and_closed_stderr_is_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger writes to a new stderr after the first was closed."""
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
