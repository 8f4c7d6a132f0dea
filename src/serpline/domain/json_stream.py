"""Reads a JSON array item by item, so that only the current item is in memory.

The standard library's parser gets a window of the text that grows until an item is complete. We
tried a streaming parser (ijson): a hundred thousand opening brackets took all memory, and one
number above 63 bits made a whole file unreadable.
"""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TextIO

from serpline.domain.http import HttpReply
from serpline.domain.replies import malformed, no_constant
from serpline.domain.text import storable

READ_CHARACTERS = 64 * 1024
_DECODER = json.JSONDecoder(parse_constant=no_constant)
_BEHIND = frozenset(" \t\n\r,]")
_SPACE = re.compile(r"[ \t\n\r]*")


def json_items(reply: HttpReply, provider: str, *, characters_max: int) -> Iterator[Any]:
    """Yield the items of a reply that is a JSON array, each as ``json_value`` would read it.

    Raises ``ProviderError`` MALFORMED at the first text that is not JSON or not part of an array,
    or at an item of more than ``characters_max`` characters. Earlier items have been yielded.
    """
    window = _Window(TextIOWrapper(reply.open(), "utf-8-sig", "strict", newline=""), characters_max)
    try:
        window.take("[")
        if window.peek() != "]":
            yield window.value()
            while window.peek() == ",":
                window.take(",")
                yield window.value()
        window.take("]")
        window.take("")
    except (ValueError, RecursionError):
        raise malformed(reply, provider, "a body that is not a JSON array") from None


class _Window:
    """The part of a text in memory, and the current position.

    Every method raises ``ValueError`` for unexpected text.
    """

    def __init__(self, text: TextIO, characters_max: int) -> None:
        self._text = text
        self._characters_max = characters_max
        self._window = ""
        self._at = 0

    def peek(self) -> str:
        """The next character after white space; empty at the end."""
        while True:
            self._at = _SPACE.match(self._window, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._window) or not self._grow():
                return self._window[self._at : self._at + 1]

    def take(self, mark: str) -> None:
        """Consume this character; empty means the end."""
        if self.peek() != mark:
            raise ValueError(f"no {mark or 'end'}")
        self._at += len(mark)

    def value(self) -> Any:
        """The next complete value. Reads more text until there is one."""
        self.peek()
        while True:
            with suppress(ValueError):
                value, end = _DECODER.raw_decode(self._window, self._at)
                # Before any other character a number may continue.
                if self._window[end : end + 1] in _BEHIND:
                    break
            if not self._grow():
                raise ValueError("no value")
        escaped = self._window.find("\\u", self._at, end) >= 0
        self._at = end
        return storable(value) if escaped else value

    def _grow(self) -> bool:
        """Double the window, so that growing costs no more than reading.

        False at the end, and when the window would be too long.
        """
        left = self._window[self._at :]
        room = self._characters_max + 1 - len(left)
        more = self._text.read(min(max(READ_CHARACTERS, len(left)), room)) if room > 0 else ""
        self._window, self._at = left + more, 0
        return bool(more)
