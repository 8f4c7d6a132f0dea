"""The script that recomputes the DSI, with unexpected files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from serpline import recompute_dsi

PLACE = {"content_type": "organic", "market": "US", "device": "desktop"}
METHOD = {"record": "method", **PLACE, "curve": {"percents": [50.0], "tail": [], "rest_percent": 1}}
METHOD |= {"ai_overview_factor": 0.5, "unknown_volume": "exclude", "weight": 1.0}
PAGE = {"record": "page", **PLACE, "keyword": "tea", "volume": 100, "ai_overview": None}
RESULT = {"record": "result", **PLACE, "keyword": "tea", "url": "https://acme.com/"}
RESULT |= {"company": "acme.com", "position": 1, "relevance": 0.5}
GOOD = (METHOD, PAGE, RESULT)


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "no figures"),
        (b"[1]\n", "line 1 is not a method"),
        (b"5\n", "line 1 is not a method"),
        (lines(METHOD, {"record": ["page"]}), "line 2 is not a method"),
        (b"[" * 200_000 + b"\n", "line 1 is not JSON"),
        (lines(METHOD) + b"\n", "line 2 is not JSON"),
        (b"\x1f\x8b\x08", "codec can't decode"),
        (lines(PAGE | {"record": "method"}), "a record has a missing"),
        (lines(METHOD, RESULT), "a record has a missing"),
        (lines(METHOD | {"weight": "x"}, PAGE, RESULT), "a record has a missing"),
        (lines(METHOD, PAGE | {"volume": "x"}, RESULT), "a record has a missing"),
    ],
)
def test_a_file_without_figures_is_a_one_line_error(
    body: bytes, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the file and the line or the problem, and the exit code is 2."""
    file = tmp_path / "inputs.jsonl"
    file.write_bytes(body)
    assert recompute_dsi.main([str(file)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"{file}: ")
    assert problem in output.err
    assert output.err.count("\n") == 1


def test_an_absent_company_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Empty output would mean a company without figures. A byte order mark is accepted."""
    file = tmp_path / "inputs.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + lines(*GOOD))
    assert recompute_dsi.main([str(file), "--company", "acme.com"]) == 0
    figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["content_type"], each["dsi"]) for each in figures] == [
        ("organic", 50.0),
        ("all", 50.0),
    ]
    assert recompute_dsi.main([str(file), "--company", "acme.org"]) == 2
    assert capsys.readouterr().err == f"{file}: no figures of acme.org\n"


def test_a_reader_that_leaves_is_no_crash(tmp_path: Path) -> None:
    """A reader such as ``head`` may close the pipe: the command ends without a traceback."""
    file = tmp_path / "inputs.jsonl"
    many = [RESULT | {"company": f"{number}.com"} for number in range(3_000)]
    file.write_bytes(lines(METHOD, PAGE, *many))
    with subprocess.Popen(
        [sys.executable, "-I", recompute_dsi.__file__, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as script:
        assert script.stdout is not None
        assert script.stderr is not None
        script.stdout.readline()
        script.stdout.close()
        assert script.stderr.read() == b""
    assert script.returncode == 1
