"""Logging: structured lines on stderr, so that stdout stays one JSON document.

``configure`` takes the secrets in use. No log line contains them, whichever library writes it.
``masked`` removes them from exception texts that are stored in a table.
"""

import io
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO, cast

import structlog

from serpline.core.escaping import log_text
from serpline.core.masking import mask

# Libraries that log URLs or arguments. A ScaleSERP URL contains the API key.
_QUIET: Iterable[str] = ("httpx2", "httpcore2", "procrastinate", "trafilatura", "uvicorn")


class _Stderr(io.TextIOBase):
    """Writes to the current ``sys.stderr``: an earlier one may be replaced and closed."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


_STDERR = _Stderr()
_TO_STDERR = structlog.PrintLoggerFactory(cast(TextIO, _STDERR))
_SECRET_CHARS_MIN = 8
_secrets: list[str] = []


class _MaskingFormatter(logging.Formatter):
    """Formats the standard library's lines and exceptions without secrets or terminal commands."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return log_text(mask(super().format(record), _secrets))


def configure(
    level: str = "INFO", *, json_lines: bool = False, secrets: Sequence[str] = ()
) -> None:
    """Send every log line to stderr at ``level``, without ``secrets``.

    Secrets of fewer than eight characters stay, because masking them could make lines unreadable.
    """
    _secrets[:] = [secret for secret in secrets if len(secret) >= _SECRET_CHARS_MIN]
    structlog.configure(
        processors=_processors(json_lines=json_lines),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=_TO_STDERR,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(_STDERR)
    handler.setFormatter(_MaskingFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _processors(*, json_lines: bool) -> list[structlog.typing.Processor]:
    """Processors that mask secrets, and show tracebacks without the values of variables."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json_lines
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _escape_values,
        renderer,
        lambda _logger, _method, line: mask(str(line), _secrets),
    ]


def _escape_values(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape values, so that outside text cannot control the terminal that shows the line."""
    return {k: log_text(v) if isinstance(v, str) else v for k, v in event.items()}


# For programs that import the package and configure no logging, such as notebooks: warnings only.
# structlog's default writes to stdout, which is for JSON documents, and shows every frame's
# variables, including keys.
if not structlog.is_configured():
    structlog.configure(
        processors=_processors(json_lines=False),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=_TO_STDERR,
    )


def masked(text: str) -> str:
    """``text`` without the configured secrets, for storage in a table."""
    return mask(text, _secrets)


def described(error: BaseException) -> str:
    """An unexpected exception as one line for a table: its type and message, ``masked``."""
    return masked(f"{type(error).__name__}: {error}")


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger. Give every line an ``action``."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(room=name)
    return logger
