"""Commands as a person can run them again."""

import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "serpline"


def command(data_dir: Path | None, *arguments: str) -> str:
    """A command line for a shell; ``data_dir``: the global option, if one was given."""
    option = [] if data_dir is None else ["--data-dir", str(data_dir)]
    return shlex.join([*program(), *option, *arguments])


def program() -> list[str]:
    """The words that start this program: its name if the shell finds it, else its path."""
    found = shutil.which(PROGRAM)
    own = Path(sys.executable).parent / PROGRAM
    if found is not None and _is_same(Path(found), own):
        return [PROGRAM]
    if not own.exists():
        return [sys.executable, "-m", "serpline.cli"]
    try:
        return [str(own.relative_to(Path.cwd()))]
    except (ValueError, OSError):
        return [str(own)]


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
