"""Find constants that no test depends on.

    python tools/mutate_constants.py src/serpline/robustness src/serpline/pipeline/timer.py

It multiplies and divides each number of the files by ``--factor`` in a copy of the source, one
number at a time: numbers of a module, a field or a parameter's default, and numbers within a
function except the integers 1 and 2. Then it runs the tests that import the module, directly or
through another, until one fails (``--tests`` names others). It prints a line per number, and exits
with code 1 if no test fails for either change of one.

Limits: a test may fail for another reason than the constant's promise. Tests that run longer than
``--seconds`` are stopped, and the change counts as not noticed.
"""

import argparse
import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parent.parent
COPIED = (
    "src",
    "tests",
    "harness",
    "chaos",
    "bench",
    "tools",
    "docs",
    "pyproject.toml",
    "README.md",
)
ROOMS = ("tests/unit", "tests/contract", "tests/integration")
OPTIONS = ("-x", "-q", "--timeout=60", "-p", "no:xdist", "-p", "no:cacheprovider")


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric literal: its place in bytes, and the name that it belongs to."""

    path: Path
    line: int
    start: int
    end: int
    value: float
    owner: str

    def changed(self, factor: float) -> list[str]:
        """Source texts of the larger and the smaller number."""
        if isinstance(self.value, int):
            smaller = max(1, self.value // int(factor))  # most code refuses 0 anyway
            values: list[float] = [self.value * int(factor), smaller]
        else:
            values = [self.value * factor, self.value / factor]
        return [repr(value) for value in values if value != self.value]


def numbers(path: Path) -> Iterator[Number]:
    """The numbers of a file that could be constants, in order."""

    def walk(node: ast.AST, owner: str, is_inner: bool) -> Iterator[Number]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant):
                value = child.value
                if isinstance(value, bool) or not isinstance(value, int | float) or not value:
                    continue
                if is_inner and isinstance(value, int) and value in (1, 2):
                    continue
                yield Number(
                    path, child.lineno, child.col_offset, child.end_col_offset or 0, value, owner
                )
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                name = getattr(child, "name", owner)
                yield from walk(child.args, name, False)
                body = child.body if isinstance(child.body, list) else [child.body]
                for part in body:
                    yield from walk(ast.Expression(part), name, True)  # type: ignore[arg-type]
            else:
                yield from walk(child, _owner(child) or owner, is_inner)

    found = walk(ast.parse(path.read_text(encoding="utf-8")), path.stem, False)
    return iter(sorted(found, key=lambda number: (number.line, number.start)))


def _owner(node: ast.AST) -> str | None:
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def tests_of(path: Path) -> list[str]:
    """The test files that import the module, directly or through other modules.

    The search widens by one import at a time, at least once and until it finds a test.
    """
    tests = [file for room in ROOMS for file in sorted((ROOT / room).rglob("test_*.py"))]
    sources = {file: _module(file) for file in (ROOT / "src").rglob("*.py")}
    named, found, steps = {_module(path)}, list[Path](), 0
    while steps < 2 or not found:
        found += [file for file in tests if file not in found and _imports(file, named)]
        wider = named | {name for file, name in sources.items() if _imports(file, named)}
        if wider == named:
            break
        named, steps = wider, steps + 1
    return [str(file.relative_to(ROOT)) for file in found]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)


def _imports(file: Path, modules: set[str]) -> bool:
    text = file.read_text(encoding="utf-8")
    for module in modules:
        package, _, name = module.rpartition(".")
        listed = rf"from {re.escape(package)} import [^\n]*\b{name}\b"
        if re.search(rf"(from|import) {re.escape(module)}\b|{listed}", text):
            return True
    return False


class Copy:
    """A copy of the source, in which one number at a time is changed."""

    def __init__(self, directory: Path) -> None:
        self._root = directory
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, directory / name, ignore=ignored)
            elif source.exists():
                shutil.copy(source, directory / name)

    def failing(self, number: Number, text: str, tests: Sequence[str], seconds: float) -> str:
        """The first test that fails with the number changed to ``text``, or an empty string."""
        path = self._root / number.path.relative_to(ROOT)
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        line = lines[number.line - 1]
        lines[number.line - 1] = line[: number.start] + text.encode() + line[number.end :]
        path.write_bytes(b"".join(lines))
        try:
            return self.run(tests, seconds)
        finally:
            path.write_bytes(whole)

    def run(self, tests: Sequence[str], seconds: float) -> str:
        """The first test that fails, or an empty string."""
        process = subprocess.Popen(  # noqa: S603  our own tests
            [sys.executable, "-m", "pytest", *OPTIONS, *tests],
            cwd=self._root,
            env={**os.environ, "PYTHONPATH": "src", "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)  # the tests stop their server
            process.communicate()
            return ""
        if process.returncode == 0:
            return ""
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
        return failed[1] if failed else "pytest itself"


def main() -> int:
    """Change every number of the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--factor", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--only", default="", help="owners of numbers, separated by commas")
    parser.add_argument(
        "--tests", default="", help="tests to run instead of those that import the module"
    )
    options = parser.parse_args()
    files = [
        file.resolve()
        for path in options.paths
        for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])
    ]
    only = set(filter(None, options.only.split(",")))
    found = [number for file in files for number in numbers(file)]
    found = [number for number in found if not only or number.owner in only]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="serpline-mutate-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for job in range(options.jobs):
            copies.put(Copy(Path(folder) / str(job)))

        chosen = list(filter(None, options.tests.split(",")))
        passed = set[tuple[str, ...]]()

        def noticed(number: Number) -> str:
            """The change and the test that failed, or an empty string."""
            tests = tuple(chosen or tests_of(number.path))
            copy = copies.get()
            try:
                if tests not in passed and (failed := copy.run(tests, options.seconds)):
                    raise SystemExit(f"{failed} fails without a change")
                passed.add(tests)
                for text in number.changed(options.factor):
                    if failed := copy.failing(number, text, tests, options.seconds):
                        return f"as {text} by {failed}"
            finally:
                copies.put(copy)
            return ""

        with ThreadPoolExecutor(options.jobs) as pool:
            for number, how in zip(found, pool.map(noticed, found), strict=True):
                survivors += not how
                where = f"{number.path.relative_to(ROOT)}:{number.line}"
                result = f"noticed {how}" if how else "NOT NOTICED"
                sys.stdout.write(f"{where} {number.owner} = {number.value}: {result}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{survivors} of {len(found)} numbers could change unnoticed\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
