"""The command line. ``main`` runs one command and reports a user's error in one line.

Exit codes: 0 done; 1 the run failed; 2 bad usage or configuration (one line on stderr with the name
and the value, never a traceback), or a doctor's findings; 70 a bug (with its traceback); 130
interrupted; 143 terminated.
Documents go to stdout, everything else to stderr.
"""

import os
import sys
import traceback
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from serpline.cli.help import command_of
from serpline.cli.root import PANELS, app
from serpline.cli.supervise import REFUSED, WITH_PARENT
from serpline.core.escaping import log_text, terminal_text
from serpline.core.masking import mask
from serpline.core.settings import SettingsError, load
from serpline.domain.errors import ConfigurationError, UserError

__all__ = ["app", "main"]

DONE = 0
BAD_USAGE = 2
BUG = 70
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Any encoding of the terminal can print keywords in any script.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if any(not each.strip() or (each.startswith("--") and each.endswith("=")) for each in argv):
        # Taken as "not given", it would select the latest run, every keyword or all phases.
        return _usage_error("an argument is empty: is a shell variable unset?")
    try:
        code = command_of(app, PANELS)(
            global_options_first(argv), prog_name="serpline", standalone_mode=False
        )
    except BrokenPipeError:
        # The reader closed the pipe. Redirect stdout, or the interpreter's last flush fails too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except TyperException as error:
        format_message = getattr(error, "format_message", None)
        message = format_message() if format_message else str(error)
        # No message: a command group without a command, whose help is already printed.
        return _usage_error(message) if message.strip() else BAD_USAGE
    except (UserError, SettingsError) as error:
        code = _usage_error(str(error))
        is_refused = isinstance(error, ConfigurationError | SettingsError)
        return REFUSED if is_refused and WITH_PARENT in argv else code
    except Exception as error:  # noqa: BLE001  the process's last resort
        if _is_state_of_database(error):
            return _usage_error(f"the database is unavailable or busy: {error}")
        sys.stderr.write(_traceback())
        return BUG
    return code if isinstance(code, int) else DONE


def global_options_first(arguments: Sequence[str]) -> list[str]:
    """Move ``--data-dir DIR`` and ``--wide`` to the front, where the parser expects them.

    They may stand anywhere.
    """
    first: list[str] = []
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            rest += [argument, *remaining]
        elif argument == "--data-dir":
            first += [argument, *[value for value in [next(remaining, None)] if value is not None]]
        elif argument == "--wide" or argument.startswith("--data-dir="):
            first.append(argument)
        else:
            rest.append(argument)
    return [*first, *rest]


def _usage_error(message: str) -> int:
    sys.stderr.write(f"serpline: {' '.join(terminal_text(message).split())}\n")
    return BAD_USAGE


def _traceback() -> str:
    """The current traceback, with secrets masked and terminal control characters escaped.

    Users pass tracebacks on, and exception texts may come from the web.
    """
    try:
        secrets = load().secrets
    except SettingsError:
        secrets = ()
    return log_text(mask(traceback.format_exc(), secrets))


def _is_state_of_database(error: Exception) -> bool:
    """Whether the same command may succeed later."""
    # Looked up in sys.modules: a command that needs no database must not import its driver.
    store = sys.modules.get("serpline.store.database")
    return store is not None and isinstance(
        error, store.DatabaseUnavailable | store.TransactionConflict
    )
