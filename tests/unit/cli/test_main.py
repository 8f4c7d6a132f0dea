"""Common to all commands: exit codes, one-line errors and a quick start."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import serpline.cli as cli
from serpline.cli.common import print_json, split_list
from serpline.cli.companies import company_domain
from serpline.cli.start import read_config
from serpline.cli.tables import format_cell
from serpline.domain.errors import UserError
from serpline.domain.keywords import KeywordRow
from serpline.imports.reading import merge_duplicates


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["run", "list", "--data-dir", "x"], ["--data-dir", "x", "run", "list"]),
        (["demo", "--data-dir=x", "--json"], ["--data-dir=x", "demo", "--json"]),
        (["rankings", "--", "--data-dir", "x"], ["rankings", "--", "--data-dir", "x"]),
        (["run", "list", "--data-dir"], ["--data-dir", "run", "list"]),
    ],
)
def test_the_data_directory_may_stand_anywhere(given: list[str], expected: list[str]) -> None:
    """``--data-dir`` moves to the front; arguments after ``--`` stay."""
    assert cli.global_options_first(given) == expected


def test_no_command_prints_the_help_and_no_empty_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a command, the help is printed and the exit code is 2."""
    assert cli.main([]) == 2
    shown_ = capsys.readouterr()
    assert "Usage" in shown_.out + shown_.err
    assert "serpline: " not in shown_.err


def test_requested_help_exits_with_0() -> None:
    """Requested help exits with 0."""
    assert cli.main(["--help"]) == 0


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt(), 130), (RuntimeError("sk-canary"), 70), (UserError("x"), 2)],
)
def test_exit_codes(
    raised: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only a bug prints a traceback, with its secrets masked."""
    monkeypatch.setenv("SERPLINE_LLM_API_KEY", "sk-canary")

    def command(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(cli, "command_of", lambda *_: command)
    assert cli.main(["run", "list"]) == code
    output = capsys.readouterr().err
    assert ("Traceback" in output) == (code == 70)
    assert "sk-canary" not in output


def test_a_traceback_is_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in a traceback are escaped: the text may come from the web."""

    def command(*_: object, **__: object) -> None:
        raise RuntimeError("a title\x1b[2J\u202e")

    monkeypatch.setattr(cli, "command_of", lambda *_: command)
    assert cli.main(["run", "list"]) == 70
    output = capsys.readouterr().err
    assert r"a title\u001b[2J\u202e" in output
    assert not {"\x1b", "\u202e"} & set(output)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERPLINE_LOG_LEVEL", "loud"),
        ("SERPLINE_PROVIDER_RATES", "fast"),
        ("SERPLINE_WORKER_CONCURRENCY", "many"),
        ("SERPLINE_WORKER_DEAD_AFTER_SECONDS", "9.5"),
        ("SERPLINE_WORKER_DEAD_AFTER_SECONDS", "inf"),
        ("SERPLINE_WORKER_DEAD_AFTER_SECONDS", "nan"),
        ("SERPLINE_WORKER_HEARTBEAT_SECONDS", "301"),
        ("SERPLINE_LOOK_AGAIN_SECONDS", "1e300"),
        ("SERPLINE_BATCH_POLL_SECONDS", "inf"),
        ("SERPLINE_CHUNK_SILENCE_SECONDS", "inf"),
        ("SERPLINE_BATCH_RUNNING_SECONDS_MAX", "2592001"),
        ("SERPLINE_SCALESERP_BASE_URL", "nowhere"),
    ],
)
def test_an_invalid_setting_is_one_line_with_its_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid variable is one line with its name and value, before anything is opened."""
    monkeypatch.setenv(name, value)
    assert cli.main(["run", "list"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert f"{name}={value!r}" in output.err


def test_a_log_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The simulator does not start; the line names the option and its value."""
    file = tmp_path / "nowhere" / "calls.jsonl"
    assert cli.main(["simulator", "serve", "--log", str(file)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"serpline: --log '{file}': No such file or directory\n"


def test_the_help_imports_no_slow_library() -> None:
    """Slow modules are imported by the commands that need them, not by the command tree."""
    heavy = ["polars", "sqlalchemy", "uvicorn", "fastapi", "trafilatura", "procrastinate"]
    heavy += ["serpline.config.model", "serpline.scheduling.spec"]
    code = f"import sys, serpline.cli; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a":', "line 1"),
        (b"[1]", "JSON object"),
        (b"\xff\xfe{", "not UTF-8"),
        (b"[" * 100_000, "JSON nested too deeply"),
        (b" " * 1_000_001, "larger than"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(
    body: bytes, words: str, tmp_path: Path
) -> None:
    """One line names the file and the reason."""
    file = tmp_path / "run.json"
    file.write_bytes(body)
    with pytest.raises(UserError, match=words) as caught:
        read_config(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_configuration_is_named(tmp_path: Path) -> None:
    """A missing file is a usage error."""
    with pytest.raises(UserError, match=r"nothing\.json"):
        read_config(tmp_path / "nothing.json")


def test_an_unknown_curve_is_refused_before_anything_is_paid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last phase's curve is checked first, without a database."""
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"curve": "bent"}))
    assert cli.main(["run", "start", "--config", str(file)]) == 2
    assert "'bent'" in capsys.readouterr().err


def test_repeated_rows_become_one_with_all_tags() -> None:
    """Rows of the same pair are merged, with all their tags."""
    rows = [
        KeywordRow(2, "a", "a", "US", ("x",)),
        KeywordRow(3, "b", "b", "US"),
        KeywordRow(4, "A", "a", "US", ("y", "x")),
    ]
    assert merge_duplicates(rows) == [KeywordRow(2, "a", "a", "US", ("x", "y")), rows[1]]


def test_lists_are_given_by_commas_or_repeated() -> None:
    """Both ways of giving several values are the same."""
    assert split_list(["organic, news", "video", ""]) == ["organic", "news", "video"]
    assert split_list(None) is None


def test_an_empty_list_is_refused() -> None:
    """It would otherwise start a paid run over all content types."""
    with pytest.raises(UserError, match="is an empty list"):
        split_list([" ,", ""])


@pytest.mark.parametrize(
    "given",
    [
        ["dsi", "show", "--run", ""],
        ["rankings", "--keyword="],
        ["run", "start", "--phases", " "],
        ["keywords", "import", ""],
    ],
)
def test_an_empty_argument_is_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unset shell variable leaves an empty argument."""
    assert cli.main(given) == 2
    assert capsys.readouterr().err.startswith("serpline: an argument is empty")


@pytest.mark.parametrize(
    ("given", "company"),
    [
        ("https://www.acme.com/about", "acme.com"),
        ("youtube.com/channel/UCro8H3sIaC7-Km7ngIUHHUQ", None),
        ("https://m.youtube.com/channel/UCro8H3sIaC7-Km7ngIUHHUQ/videos", None),
        ("https://www.youtube.com/playlist?list=UUro8H3sIaC7-Km7ngIUHHUQ", None),
        ("youtube.com", "youtube.com"),
    ],
)
def test_a_company_is_a_domain_or_a_channel(given: str, company: str | None) -> None:
    """A company is its registrable domain, or a channel's address if the owner is unknown."""
    channel = "youtube.com/channel/UCro8H3sIaC7-Km7ngIUHHUQ"
    assert company_domain(given) == (company or channel)


@pytest.mark.parametrize(
    "given",
    ["youtube.com/@acme", "youtube.com/c/acme", "https://youtu.be/dQw4w9WgXcQ", "localhost", "@a"],
)
def test_other_names_of_companies_are_refused(given: str) -> None:
    """A handle or a video would otherwise be read as youtube.com, which owns none of them."""
    with pytest.raises(UserError, match=re.escape(given)):
        company_domain(given)


def test_control_characters_are_not_printed() -> None:
    """Control characters and escapes are not printed; unknown values are a dash."""
    assert format_cell("a\x1b[2Jb\nc") == "a [2Jb c"
    assert format_cell(None) == "–"


def test_a_document_is_utf_8_under_any_locale() -> None:
    """The bytes are the same under any locale; halves of surrogate pairs are escaped."""
    code = "from serpline.cli.common import print_json; print_json({'k': '吕梁市 \\ud800'})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert done.stdout == '{\n  "k": "吕梁市 \\ud800"\n}\n'.encode()


def test_an_unknown_type_in_a_document_is_a_bug() -> None:
    """Unknown types raise ``TypeError``; they are not converted silently."""
    with pytest.raises(TypeError, match="object"):
        print_json({"k": object()})
