"""What a message says about one incident, and outside text made safe for a message."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from serpline.core.escaping import terminal_text
from serpline.core.logging import masked
from serpline.domain.text import storable

TEXT_CHARS_MAX: Final = 500
_SPACES: Final = re.compile(r"\s+")
# Mentions that notify everyone in a channel, as Discord and Slack write them.
_MENTION: Final = re.compile(r"@(?=(?:everyone|here|channel|all)\b)|<(?=[!@#&])", re.IGNORECASE)


class Level(StrEnum):
    """How bad it is, worst first. The values are Apprise's types of notifications."""

    FAILURE = "failure"
    WARNING = "warning"
    INFO = "info"
    SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class Note:
    """The words about one incident.

    ``subject`` and ``many`` are for a digest: "3 runs failed: a, b, c". ``facts``: sentences.
    ``meaning``: what follows from it. ``command``: shows more.
    """

    level: Level
    headline: str
    many: str
    subject: str
    facts: tuple[str, ...]
    meaning: str
    command: str

    def to_json(self) -> dict[str, Any]:
        """Return the note as its column stores it."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Note":
        """Read a stored note."""
        given = {field.name: stored[field.name] for field in fields(cls)}
        return cls(**{**given, "level": Level(given["level"]), "facts": tuple(given["facts"])})


def clean(value: object, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Return outside text as one line of at most ``chars_max``, without secrets of ours.

    An invisible character in "@everyone" and the like keeps chat services from notifying everyone.
    """
    line = _SPACES.sub(" ", terminal_text(masked(storable(str(value))))).strip()
    line = line if len(line) <= chars_max else f"{line[: chars_max - 1]}…"
    return _MENTION.sub("\\g<0>\u200b", line)


def when(value: object) -> str:
    """Return a time, or its ISO text, in UTC to the minute; any other text as it is."""
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError):
        return clean(value, 40)


def quoted(name: str) -> str:
    """Return a name as an argument of a shell command."""
    return shlex.quote(storable(name))
