"""The documents: their examples run, and their diagrams are those of the dictionaries."""

import ast
import importlib.util
import re
from contextlib import AsyncExitStack
from pathlib import Path
from types import CodeType

import pytest

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(document: str) -> list[CodeType]:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return [
        compile(block, f"{document}#{number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for number, block in enumerate(_BLOCK.findall(text), start=1)
    ]


async def test_examples(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example of the documentation runs as written, in the order of the page."""
    monkeypatch.setenv("SERPLINE_DATABASE_URL", database_url)
    blocks = _blocks("examples.md")
    assert len(blocks) >= 7
    async with AsyncExitStack() as stack:
        names: dict[str, object] = {"stack": stack}
        for block in blocks:
            coroutine = eval(block, names)  # the page itself is the program
            if coroutine is not None:
                await coroutine


async def test_a_figure_by_hand() -> None:
    """The page on the figures computes by hand what the script computes."""
    (block,) = _blocks("figures.md")
    eval(block, {})  # the page itself is the program


@pytest.mark.parametrize("tool", ["draw_states", "write_keys"])
def test_what_is_written_from_the_code(tool: str) -> None:
    """The state diagrams are those of the transition tables, the keys those of the models."""
    spec = importlib.util.spec_from_file_location("draw", ROOT / "tools" / f"{tool}.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    document = draw.DOCUMENT.read_text(encoding="utf-8")
    assert draw.drawn(document) == document
