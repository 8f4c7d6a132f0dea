"""Execute docs/notebook.ipynb and store its outputs in it. ``make notebook`` runs this.

The project is the one that ``serpline.open()`` opens: set SERPLINE_DATA_DIR to the directory of
``serpline demo``. Files that the notebook writes are left in a temporary directory.
"""

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebook.ipynb"
CELL_SECONDS_MAX = 120


def main() -> None:
    """Execute every cell in a new kernel. An exception of a cell ends it, and nothing is stored."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as directory:
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS_MAX,
            kernel_name="python3",
            record_timing=False,
            resources={"metadata": {"path": directory}},
        )
        client.execute()
    # The machine's Python is none of the notebook's business.
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
