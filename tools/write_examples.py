"""Write the code of the pages for Python programs to build/examples, for the type checkers.

The page docs/python.md and the notebook docs/notebook.ipynb become one module each. Calls that only
a notebook may have at the end of a cell stay as they are.
"""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "build" / "examples"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page_code(name: str) -> str:
    """Return the Python blocks of a page, in its order."""
    return "\n".join(_BLOCK.findall((ROOT / "docs" / name).read_text(encoding="utf-8")))


def notebook_code(name: str) -> str:
    """Return the code of a notebook's cells, in its order."""
    cells = json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "\n\n".join(code) + "\n"


def main() -> None:
    """Write a module for the page and one for the notebook."""
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "python_page.py").write_text(page_code("python.md"), encoding="utf-8")
    (TARGET / "notebook.py").write_text(notebook_code("notebook.ipynb"), encoding="utf-8")


if __name__ == "__main__":
    main()
