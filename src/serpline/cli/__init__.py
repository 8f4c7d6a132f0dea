"""The command line. ``main`` is the whole process: every mistake of a person is one line.

Exit codes: 0 done; 1 the run failed; 2 bad usage or configuration (one line on stderr that names
the thing and the value, never a traceback); 70 a bug (with its traceback); 130 and 143 interrupted
and terminated. Documents go to stdout, everything else to stderr.
"""

import os
import sys
import traceback
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from serpline.cli.root import app
from serpline.core.escaping import log_text, terminal_text
from serpline.core.masking import mask
from serpline.core.settings import SettingsError, load
from serpline.domain.errors import UserError

__all__ = ["app", "main"]

DONE = 0
BAD_USAGE = 2
BUG = 70
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Keywords in any script are printed whatever the terminal's encoding is.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if any(not each.strip() or (each.startswith("--") and each.endswith("=")) for each in argv):
        # Read as "not given", it would mean the latest run, every keyword or all phases.
        return _usage_error("an argument is empty: is a variable of the shell not set?")
    try:
        code = app(global_options_first(argv), prog_name="serpline", standalone_mode=False)
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter's own last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except TyperException as error:
        format_message = getattr(error, "format_message", None)
        message = format_message() if format_message else str(error)
        # Without a message it is a command group alone, and its help has been printed.
        return _usage_error(message) if message.strip() else BAD_USAGE
    except (UserError, SettingsError) as error:
        return _usage_error(str(error))
    except Exception as error:  # noqa: BLE001  the last resort of the process
        if _is_state_of_database(error):
            return _usage_error(f"the database cannot do it now: {error}")
        sys.stderr.write(_traceback())
        return BUG
    return code if isinstance(code, int) else DONE


def global_options_first(arguments: Sequence[str]) -> list[str]:
    """``--data-dir DIR`` is global, so it may stand anywhere; the parser wants it first."""
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument == "--data-dir":
            first += [argument, *[value for value in [next(waiting, None)] if value is not None]]
        elif argument.startswith("--data-dir="):
            first.append(argument)
        else:
            rest.append(argument)
    return [*first, *rest]


def _usage_error(message: str) -> int:
    sys.stderr.write(f"serpline: {' '.join(terminal_text(message).split())}\n")
    return BAD_USAGE


def _traceback() -> str:
    """The current exception's, without the configured secrets and without commands to a terminal.

    It is made to be passed on, and its words may come from the web.
    """
    try:
        secrets = load().secrets
    except SettingsError:
        secrets = ()
    return log_text(mask(traceback.format_exc(), secrets))


def _is_state_of_database(error: Exception) -> bool:
    """Later the same command may succeed."""
    # Looked up, not imported: a command that needs no database must not load its driver.
    store = sys.modules.get("serpline.store.database")
    return store is not None and isinstance(
        error, store.DatabaseUnavailable | store.TransactionConflict
    )
