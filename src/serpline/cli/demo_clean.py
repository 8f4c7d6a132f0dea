"""``serpline demo --clean``: remove what demos left behind."""

import shutil
from pathlib import Path

from serpline.cli.common import file_error, print_json, print_message
from serpline.domain.errors import UserError

PREFIX = "demo-"
CALL_LOG = "simulator-calls.jsonl"


def remove_demos(data_dir: Path, *, only: bool, as_json: bool) -> None:
    """Stop the servers of demos and remove their directories below ``data_dir``.

    ``only``: ``data_dir`` itself is such a directory. Raises ``UserError`` for one that a person
    has named: it may have a project of its own.
    """
    if only and not _is_demo(data_dir):
        raise UserError(
            f"--data-dir {data_dir}: was not made by a demo, so nothing was removed;"
            " 'serpline server stop' stops its server"
        )
    found = [data_dir] if only else sorted(filter(_is_demo, data_dir.glob(f"{PREFIX}*")))
    for directory in found:
        _remove(directory)
    if as_json:
        print_json({"removed": found})
    elif not found:
        print_message(f"no demo has left anything in {data_dir}")


def _is_demo(directory: Path) -> bool:
    return directory.name.startswith(PREFIX) and (directory / "logs").is_dir()


def _remove(directory: Path) -> None:
    from serpline.cli.server import stop_server

    stop_server(directory / "postgres")
    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise file_error(directory, error) from None
    print_message(f"removed {directory}")
