"""Write a migration from the difference between the tables and the migrations.

``python tools/make_migration.py`` regenerates ``0001_initial`` in place (until the first release).
``python tools/make_migration.py "add what"`` writes the next revision after the newest one. Read
the result, then run ``tests/integration/test_migrations.py`` to prove it.

Limits: Alembic detects tables, columns, indexes and named constraints. It does not detect a renamed
column, or a changed check constraint or storage parameter of an existing table. Columns without
statistics are written for new tables, not for a column added to an old one. Only the first
migration writes functions and views.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from serpline.store.embedded.server import ensure_server
from serpline.store.migrate import SCRIPTS, alembic_config
from serpline.store.tables.functions import FUNCTIONS
from serpline.store.tables.views import DDL

VERSIONS = SCRIPTS / "versions"
FIRST = "0001"


def main(arguments: list[str]) -> int:
    """Write and format the migration on a temporary server; returns the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="serpline-migration-"))
    try:
        server = ensure_server(folder)
        try:
            path = _write(server.url(), arguments[0] if arguments else None)
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    written = "".join(line for line in lines if "# ###" not in line)
    for statement in (*FUNCTIONS, *DDL):  # as readable SQL, not as one line of escapes
        if "\n" in statement:
            written = written.replace(repr(statement), f'"""{statement}"""')
    path.write_text(written, encoding="utf-8")
    for step in (["format"], ["check", "--fix"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *step, "--quiet", str(path)]
        subprocess.run(ruff, check=True)  # noqa: S603  our own linter on our own file
    print(os.path.relpath(path))  # noqa: T201  a script's output
    return 0


def _write(url: str, message: str | None) -> Path:
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            config: Config = alembic_config(connection)
            config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
            if message is None:
                for old in VERSIONS.glob(f"{FIRST}_*.py"):
                    old.unlink()
                revision = FIRST
            else:
                head = ScriptDirectory.from_config(config).get_current_head() or "0000"
                revision = f"{int(head) + 1:04d}"
                command.upgrade(config, "head")
            made = command.revision(
                config, message=message or "initial", autogenerate=True, rev_id=revision
            )
    finally:
        engine.dispose()
    if made is None or isinstance(made, list):
        raise SystemExit("Alembic wrote no single revision")
    return Path(made.path)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
