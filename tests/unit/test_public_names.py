"""The package's public names are the same for people, the interpreter and type checkers."""

import ast
import inspect
import subprocess
import sys
from importlib.metadata import version

import serpline

SLOW = ("polars", "sqlalchemy", "psycopg", "pydantic", "anyio", "importlib.metadata")


def test_every_name_is_there() -> None:
    """``dir`` has every public name, and each can be used."""
    assert set(serpline.__all__) <= set(dir(serpline))
    for name in serpline.__all__:
        assert getattr(serpline, name) is not None
    assert serpline.__version__ == version("serpline")
    assert not hasattr(serpline, "opne")


def test_type_checkers_see_what_the_interpreter_has() -> None:
    """The imports for type checkers are those that the package makes on first use."""
    tree = ast.parse(inspect.getsource(serpline))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        each.module: tuple(name.name for name in each.names)
        for each in block.body
        if isinstance(each, ast.ImportFrom)
    }
    assert seen == serpline._MODULES
    names = [name for names in serpline._MODULES.values() for name in names]
    assert sorted([*names, "__version__"]) == sorted(serpline.__all__)


def test_the_import_is_cheap() -> None:
    """Importing the package loads none of the libraries that the names need."""
    program = f"import sys, serpline; print([m for m in {SLOW} if m in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stdout.strip() == "[]"
