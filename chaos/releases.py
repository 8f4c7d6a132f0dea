"""Two releases of serpline for row 4: the current code, and the same code with changes.

Each is a copy of the source tree, to be put first on ``PYTHONPATH``. The second differs in what two
processes easily assume of each other: sizes, orders, names, texts and messages. A change whose
pattern matches nothing fails, so it must be updated with the code.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import serpline

SIZE = 7


@dataclass(frozen=True, slots=True)
class Change:
    """Replace ``pattern`` (a regular expression) by ``into`` in the files that ``where`` names."""

    what: str
    where: str
    pattern: str
    into: str


CHANGES = (
    Change(
        "another chunk size", "phases/company_enrichment_serp.py", r"return 200\b", f"return {SIZE}"
    ),
    Change("another chunk size", "phases/youtube_enrichment.py", r"10 \* IDS_MAX", "IDS_MAX"),
    Change("another order of the phases", "phases/registry.py", r"in phases\}", "in phases[::-1]}"),
    Change("a renamed helper", "**/*.py", r"\bas_done\b", "as_they_come"),
    Change("a renamed method", "pipeline/worker.py", r"\b_claim_and_work\b", "_try_chunk"),
    Change(
        "another plan text",
        "store/runs/plans.py",
        r"SELECT DISTINCT domain AS item FROM serp_results",
        "SELECT domain AS item FROM (SELECT domain, run_id, content_type FROM serp_results"
        " GROUP BY 1, 2, 3) AS ranked",
    ),
    Change("a renamed kind of wake-up", "**/*.py", r'WakeUp\("chunk"', 'WakeUp("piece"'),
    Change("a renamed kind of wake-up", "app/worker.py", r'register\("chunk"', 'register("piece"'),
    Change(
        "a new field in every wake-up",
        "store/queue/wakeups.py",
        r"'target', placed\.target\)",
        "'target', placed.target, 'release', '2')",
    ),
    Change(
        "a new field in every wake-up",
        "queueing/worker.py",
        r"job_type: str, target: str\)",
        'job_type: str, target: str, release: str = "1")',
    ),
    Change(
        "another worker host name",
        "pipeline/lifeline.py",
        r"socket\.gethostname\(\)",
        'socket.gethostname() + " release 2"',
    ),
)


def make_release(folder: Path, *, changed: bool) -> Path:
    """Copy the source tree into ``folder``, ``changed`` or not; returns the path to import from."""
    source = Path(serpline.__file__).parent
    copy = folder / "serpline"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for change in CHANGES if changed else ():
        made = sum(_changed(path, change) for path in sorted(copy.glob(change.where)))
        assert made, f"{change.what}: nothing in {change.where} matches {change.pattern}"
    return folder


def _changed(path: Path, change: Change) -> int:
    text, made = re.subn(change.pattern, change.into, path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    return made
