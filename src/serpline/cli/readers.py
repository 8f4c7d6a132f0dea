"""``serpline reader create|list|remove``: read-only roles for SQL and BI tools."""

import secrets
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serpline.cli.common import JsonFlag, print_json, print_message, run, services
from serpline.cli.tables import show_table
from serpline.domain.errors import UserError

if TYPE_CHECKING:
    from serpline.store.maintenance.readers import Reader

app = typer.Typer(
    help="Read-only roles for SQL and BI tools: they read the schema serpline_v1 only.",
    no_args_is_help=True,
)

PASSWORD_BYTES = 24
PASSWORD_LENGTH_MIN = 12
NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="The role's name.")]


@app.command()
def create(
    ctx: typer.Context,
    name: NameArgument = "serpline_reader",
    password: Annotated[
        str | None,
        typer.Option("--password", metavar="-", help="-: read the password from stdin."),
    ] = None,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="Make another password for an existing role.")
    ] = False,
    timeout: Annotated[
        int, typer.Option(min=0, max=86_400, help="Seconds a statement may take; 0: no limit.")
    ] = 60,
    connections: Annotated[
        int, typer.Option(min=1, max=1_000, help="Connections that the role may have at once.")
    ] = 10,
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Only print the SQL, for an administrator.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a role that reads the results, and print its URL with its password, this once.

    Run again, it sets the limits and keeps the password. On the embedded server the role needs no
    password: only your own processes reach the server.
    """
    given = _read_password(password)

    async def make() -> dict[str, Any]:
        from serpline.store.maintenance import readers

        limits = readers.Limits(timeout, connections)
        async with services(ctx) as opened, opened.database.transaction() as conn:
            readers.check_name(name)
            if as_sql:
                by = await readers.owner(conn)
                made = readers.statements(name, opened.database.name, limits, owner=by)
                return {"sql": [each.as_string() for each in made]}
            is_embedded = opened.settings.database_url is None
            # One that reads another database of the server keeps its password too.
            is_missing = await readers.is_missing(conn, name)
            made_password = None
            if given is None and not is_embedded and (new_password or is_missing):
                made_password = secrets.token_urlsafe(PASSWORD_BYTES)
            is_new = await readers.create(conn, name, limits, password=given or made_password)
            return {
                "name": name,
                "is_new": is_new,
                "url": opened.database.url_of(name, made_password),
                "has_password": made_password is not None,
                "schema": "serpline_v1",
                **asdict(limits),
            }

    found = run(make())
    if as_json:
        print_json(found)
    elif as_sql:
        typer.echo("".join(f"{each};\n" for each in found["sql"]), nl=False)
        print_message(f"set its password in psql: \\password {name}")
    else:
        typer.echo(found["url"])
        limit = f"{timeout} s a statement" if timeout else "no time limit"
        print_message(
            f"{name} reads the schema serpline_v1 and nothing else ({limit}, {connections}"
            " connections at once)"
        )
        if found["has_password"]:
            print_message("the password is shown this once; --new-password makes another")


def _read_password(option: str | None) -> str | None:
    if option is None:
        return None
    if option != "-":
        # Other users of the machine can see command lines.
        raise UserError("--password: only - is allowed, which reads the password from stdin")
    given = sys.stdin.readline().rstrip("\r\n")
    if len(given) < PASSWORD_LENGTH_MIN:
        raise UserError(f"--password -: must have {PASSWORD_LENGTH_MIN} characters or more")
    return given


@app.command("list")
def list_(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """List the roles that read this database."""

    async def read() -> "list[Reader]":
        from serpline.store.maintenance.readers import readers

        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await readers(conn)

    found = [
        {"name": each.name, **asdict(each.limits), "connected": each.connected}
        for each in run(read())
    ]
    if as_json:
        print_json(found)
        return
    columns = ["name", "statement_seconds", "connections_max", "connected"]
    show_table(columns, [[each[name] for name in columns] for each in found])


@app.command()
def remove(ctx: typer.Context, name: NameArgument = "serpline_reader") -> None:
    """Remove a role and end its sessions."""

    async def drop() -> bool:
        from serpline.store.maintenance.readers import remove as drop_role

        async with services(ctx) as opened, opened.database.transaction() as conn:
            return await drop_role(conn, name)

    if run(drop()):
        print_message(f"{name} is removed")
    else:
        print_message(f"{name} reads this database no more; the role stays for another database")
