"""``serpline psql``: a SQL prompt on the project's database."""

import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from serpline.cli.common import print_message, run, services
from serpline.core.settings import Settings
from serpline.domain.errors import UserError


class SqlRole(StrEnum):
    """Whose rights the prompt has."""

    READER = "reader"
    OWNER = "owner"


# The role's own settings do not apply to a session that takes it (``store.maintenance.readers``).
_READ_ONLY = (
    "-c default_transaction_read_only=on -c search_path=serpline_v1 -c enable_memoize=off"
    " -c jit=off -c timezone=UTC"
)


def psql(
    ctx: typer.Context,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGUMENTS]", help="Arguments for psql.")
    ] = None,
    role: Annotated[
        SqlRole, typer.Option(help="reader: results only, nothing is written; owner: all rights.")
    ] = SqlRole.READER,
) -> None:
    """Open psql on the database, to read the views of serpline_v1.

    Example: serpline psql -- -c "SELECT * FROM runs". As reader it takes the role serpline_reader
    if there is one ('serpline reader create'), else a session of the owner that writes nothing.
    """

    async def target() -> tuple[Path, dict[str, str], str]:
        from serpline.store.maintenance.readers import NAME_DEFAULT, may_become

        async with services(ctx) as opened:
            conninfo, password, options = opened.database.conninfo()
            if role is SqlRole.READER:
                async with opened.database.transaction() as conn:
                    takes = await may_become(conn, NAME_DEFAULT)
                options += f" {_READ_ONLY}" + (f" -c role={NAME_DEFAULT}" if takes else "")
            environment = {"PGOPTIONS": options, "PGAPPNAME": "serpline psql"}
            if password is not None:
                environment["PGPASSWORD"] = password
            return _program(opened.settings), environment, conninfo

    program, environment, conninfo = run(target())
    # A PG* variable of this machine would name another server.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    try:
        os.execve(  # noqa: S606  psql itself, with an argument list
            program, [str(program), "-d", conninfo, *(arguments or [])], kept | environment
        )
    except OSError as error:
        raise UserError(f"{program}: cannot be run: {error.strerror}") from None


def _program(settings: Settings) -> Path:
    """The embedded server's own psql; for another server the machine's, which may speak TLS."""
    found = shutil.which("psql")
    own = Path(found) if found else None
    bundled = _bundled(settings)
    chosen = (bundled or own) if settings.database_url is None else (own or bundled)
    if chosen is None:
        raise UserError("psql is not installed: install PostgreSQL's client, and try again")
    if chosen is bundled and settings.database_url is not None:
        print_message(
            "this psql has no TLS: install PostgreSQL's client for a server that needs it"
        )
    return chosen


def _bundled(settings: Settings) -> Path | None:
    from serpline.store.embedded.account import EmbeddedError
    from serpline.store.embedded.programs import installed

    try:
        folder = settings.postgres_bin or installed()
    except EmbeddedError:
        return None
    program = folder.expanduser() / "psql"
    return program.absolute() if os.access(program, os.X_OK) else None
