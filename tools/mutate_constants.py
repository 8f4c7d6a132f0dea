"""Find constants that no test depends on.

    python tools/mutate_constants.py src/serpline/robustness src/serpline/pipeline/timer.py

Each number of the given files (of a module, a field, a parameter's default, or within a function
unless it is the integer 1 or 2) is multiplied and divided by ``--factor`` in a copy of the source,
one at a time. The tests that import the module, or what imports it, run until one fails
(``--tests`` names others). It prints a line per number and ends with code 1 if there is one of
which neither change fails a test.

The limits: a test may find a change for another reason than what the constant promises. Tests that
run longer than ``--seconds`` are ended, and the change counts as not noticed.
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
COPIED = ("src", "tests", "chaos", "bench", "tools", "docs", "pyproject.toml", "README.md")
ROOMS = ("tests/unit", "tests/contract", "tests/integration")
OPTIONS = ("-x", "-q", "--timeout=60", "-p", "no:xdist", "-p", "no:cacheprovider")


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric literal: where it stands, by bytes, and what it belongs to."""

    path: Path
    line: int
    start: int
    end: int
    value: float
    owner: str

    def changed(self, factor: float) -> list[str]:
        """Its source text, larger and smaller."""
        if isinstance(self.value, int):
            smaller = max(1, self.value // int(factor))  # 0 would mostly be refused as it is
            values: list[float] = [self.value * int(factor), smaller]
        else:
            values = [self.value * factor, self.value / factor]
        return [repr(value) for value in values if value != self.value]


def numbers(path: Path) -> Iterator[Number]:
    """The numbers of a file that could be constants, in their order."""

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
    """The test files that import the module, then those that import what imports it, and so on
    until there is one."""
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
    """A copy of the source in which one number at a time is changed."""

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
        """The first test that fails with the number changed to ``text``, or nothing."""
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
        """The first test that fails, or nothing."""
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
            told, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)  # the tests' server ends with them
            process.communicate()
            return ""
        if process.returncode == 0:
            return ""
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", told, re.MULTILINE)
        return failed[1] if failed else "pytest itself"


def main() -> int:
    """Change every number of the given files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--factor", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--only", default="", help="owners of numbers, by commas")
    parser.add_argument("--tests", default="", help="instead of those that import the module")
    given = parser.parse_args()
    files = [
        file.resolve()
        for path in given.paths
        for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])
    ]
    only = set(filter(None, given.only.split(",")))
    found = [number for file in files for number in numbers(file)]
    found = [number for number in found if not only or number.owner in only]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="serpline-mutate-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for job in range(given.jobs):
            copies.put(Copy(Path(folder) / str(job)))

        chosen = list(filter(None, given.tests.split(",")))
        passed = set[tuple[str, ...]]()

        def noticed(number: Number) -> str:
            """How a change was noticed, or nothing."""
            tests = tuple(chosen or tests_of(number.path))
            copy = copies.get()
            try:
                if tests not in passed and (failed := copy.run(tests, given.seconds)):
                    raise SystemExit(f"{failed} fails as it is")
                passed.add(tests)
                for text in number.changed(given.factor):
                    if failed := copy.failing(number, text, tests, given.seconds):
                        return f"as {text} by {failed}"
            finally:
                copies.put(copy)
            return ""

        with ThreadPoolExecutor(given.jobs) as pool:
            for number, how in zip(found, pool.map(noticed, found), strict=True):
                survivors += not how
                where = f"{number.path.relative_to(ROOT)}:{number.line}"
                told = f"noticed {how}" if how else "NOT NOTICED"
                sys.stdout.write(f"{where} {number.owner} = {number.value}: {told}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{survivors} of {len(found)} numbers could change unnoticed\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
