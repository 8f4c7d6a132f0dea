"""Logging: structured lines on stderr, so that stdout stays one JSON document."""

import io
import logging
import sys
from collections.abc import Iterable
from typing import TextIO, cast

import structlog

# Libraries that log URLs or arguments; a ScaleSERP URL carries the API key.
_QUIET: Iterable[str] = ("httpx2", "httpcore2", "openai", "procrastinate", "trafilatura", "uvicorn")


class _Stderr(io.TextIOBase):
    """Whatever is ``sys.stderr`` when a line is written: it may have been replaced, and closed."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


_STDERR = _Stderr()
_TO_STDERR = structlog.PrintLoggerFactory(cast(TextIO, _STDERR))


def configure(level: str = "INFO", *, json_lines: bool = False) -> None:
    """Send every log line to stderr at ``level``; as JSON lines if asked."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json_lines
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=_TO_STDERR,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        stream=_STDERR, level=level.upper(), format="%(levelname)s %(name)s %(message)s"
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


# Before anybody configures it, too: stdout belongs to the one JSON document.
structlog.configure(logger_factory=_TO_STDERR)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; every line it writes should carry an ``action``."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(room=name)
    return logger
