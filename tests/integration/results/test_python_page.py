"""The page and the notebook for Python programs run as written."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.collected_run import Filled
from harness.databases import copied_database
from sqlalchemy import text

import serpline
from serpline.store.database import Database
from serpline.store.embedded.server import EmbeddedServer

ROOT = Path(__file__).parents[3]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def url(postgres: EmbeddedServer, filled: Filled) -> Iterator[str]:
    """A database with a run of many results, whose keywords are the project's."""
    with copied_database(postgres, filled.name) as made:
        asyncio.run(_keep_keywords(made))
        yield made


async def _keep_keywords(url: str) -> None:
    database = await Database.connect(url)
    async with database.transaction() as conn:
        await conn.execute(
            text("INSERT INTO keyword_markets (keyword_id, market) SELECT id, 'US' FROM keywords")
        )
    await database.close()


def test_the_page(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every block of the page runs, in the order of the page, and prints what it found."""
    monkeypatch.setenv("SERPLINE_DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)
    blocks = _BLOCK.findall((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 9
    names: dict[str, object] = {"__name__": "page"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"python.md#{number}", "exec"), names)  # the page is the program
        assert capsys.readouterr().out.strip(), block
    assert [path.name for path in tmp_path.iterdir()] == ["rankings.parquet"]


def test_every_name_of_the_faces_is_on_the_page() -> None:
    """A method that the page does not name would not be found."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    faces = (serpline.Project, serpline.Table)
    names = [name for face in faces for name in vars(face) if not name.startswith("_")]
    assert len(names) > 20
    assert [name for name in names if f"{name}(" not in page and f"`{name}`" not in page] == []


def test_the_notebook_was_executed() -> None:
    """Each cell with code has run, in this order, without an error, and its output is stored."""
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert kinds == ["execute_result"] * (len(cells) - 1)
