"""Logging: structured lines on stderr, so that stdout stays one JSON document.

Whoever configures it names the secrets in use; none of them gets into a line, whoever writes it,
and neither into the text of an exception, be it logged or kept in a table (``masked``).
"""

import io
import logging
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO, cast

import structlog

from serpline.core.escaping import log_text
from serpline.core.masking import mask

# Libraries that log URLs or arguments; a ScaleSERP URL carries the API key.
_QUIET: Iterable[str] = ("httpx2", "httpcore2", "procrastinate", "trafilatura", "uvicorn")


class _Stderr(io.TextIOBase):
    """Whatever is ``sys.stderr`` when a line is written: it may have been replaced, and closed."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


_STDERR = _Stderr()
_TO_STDERR = structlog.PrintLoggerFactory(cast(TextIO, _STDERR))
_SECRET_CHARS_MIN = 8
_secrets: list[str] = []


class _MaskingFormatter(logging.Formatter):
    """The standard library's lines, exceptions included, without secrets or terminal commands."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return log_text(mask(super().format(record), _secrets))


def configure(
    level: str = "INFO", *, json_lines: bool = False, secrets: Sequence[str] = ()
) -> None:
    """Send every log line to stderr at ``level``, without ``secrets``; as JSON lines if asked.

    Secrets of fewer than eight characters stay: without them a line might not be readable.
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
    """Lines without secrets, and tracebacks without the values of variables."""
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
    """What others wrote must not steer the terminal that shows the line."""
    return {k: log_text(v) if isinstance(v, str) else v for k, v in event.items()}


# For programs that use the package and configure no logging. structlog's own default writes to
# stdout, which belongs to the one JSON document, and shows the variables of every frame, keys too.
if not structlog.is_configured():
    structlog.configure(processors=_processors(json_lines=False), logger_factory=_TO_STDERR)


def masked(text: str) -> str:
    """``text`` without the secrets that no line shows, for what is kept in a table."""
    return mask(text, _secrets)


def described(error: BaseException) -> str:
    """What a bug raised, in a line for a table: its kind and its words, ``masked``."""
    return masked(f"{type(error).__name__}: {error}")


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; every line it writes should carry an ``action``."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(room=name)
    return logger
