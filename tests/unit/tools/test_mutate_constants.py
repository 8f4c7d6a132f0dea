"""Which numbers the tool changes, and how."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_TOOL = Path(__file__).parents[3] / "tools" / "mutate_constants.py"
_SOURCE = '''
"""Three, 3."""
from dataclasses import dataclass
LIMITS = {"a": 30, "é": -2.5, "none": 0}
IS_ON = True


@dataclass
class Settings:
    seconds: float = 1.0


def wait(tries: int = 2) -> float:
    first, half = tries - 1, tries // 2
    return min(0.25, first * half * 60)
'''


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutate_constants", _TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mutate_constants", module)
    spec.loader.exec_module(module)
    return module


def test_numbers_are_found_with_what_they_belong_to(tool: ModuleType, tmp_path: Path) -> None:
    """Constants, fields and defaults; within a function what is no ordinary 1 or 2."""
    path = tmp_path / "example.py"
    path.write_text(_SOURCE, encoding="utf-8")
    found = list(tool.numbers(path))
    assert [(number.owner, number.value) for number in found] == [
        ("LIMITS", 30),
        ("LIMITS", 2.5),
        ("seconds", 1.0),
        ("wait", 2),
        ("wait", 0.25),
        ("wait", 60),
    ]
    assert [number.changed(10) for number in found[:4]] == [
        ["300", "3"],
        ["25.0", "0.25"],
        ["10.0", "0.1"],
        ["20", "1"],
    ]
