"""The text of a message: one notification in full, or a digest of many.

A digest names every incident as long as there is room. Otherwise it counts the rest and names the
command that lists them. So no incident is missing from a message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final
from uuid import UUID

from serpline.notifications.note import Level, Note

PREFIX: Final = "serpline"
# Services that show HTML need more characters for some of them.
_ROOM_SHARE: Final = 0.9
_MORE_CHARS: Final = 16
_LEVELS: Final = list(Level)


@dataclass(frozen=True, slots=True)
class Message:
    """A message, and how bad the worst of its incidents is."""

    title: str
    body: str
    level: Level


def compose(message_id: UUID, notes: Sequence[Note], *, body_chars_max: int) -> Message:
    """Write the message about ``notes``, of which there is at least one.

    ``body_chars_max``: what the service accepts. The id at the end is the same whenever the message
    is sent again.
    """
    groups = _groups(notes)
    level = groups[0][0].level
    headlines = [_headline(group) for group in groups]
    more = f" and {len(groups) - 1} more" if len(groups) > 1 else ""
    title = f"{PREFIX}: {headlines[0]}{more}"[:200]
    foot = f"Message {message_id}"
    if len(notes) > 1:
        foot = f"All of it: serpline notifications log --message {message_id}\n{foot}"
    # Services without titles put it before the text.
    room = int(body_chars_max * _ROOM_SHARE) - len(title) - len(foot) - 4
    body = _body(groups, headlines, room)
    return Message(title, f"{body}\n\n{foot}" if body else foot, level)


def _groups(notes: Sequence[Note]) -> list[list[Note]]:
    """Notes with the same words, the worst first; otherwise in the order of events."""
    order = {note.many: place for place, note in reversed(list(enumerate(notes)))}

    def key(note: Note) -> tuple[int, int]:
        return _LEVELS.index(note.level), order[note.many]

    return [list(group) for _, group in groupby(sorted(notes, key=key), key)]


def _headline(group: Sequence[Note]) -> str:
    return group[0].headline if len(group) == 1 else f"{len(group):,} {group[0].many}"


def _body(groups: Sequence[Sequence[Note]], headlines: Sequence[str], room: int) -> str:
    """The paragraphs of the groups, shorter the less room there is."""
    if len(groups) == 1 and len(groups[0]) == 1:
        return _cut(_text(groups[0][0]), room)
    explained = [_paragraph(group, line) for group, line in zip(groups, headlines, strict=True)]
    fixed = sum(len(head) + len(tail) + 2 for head, tail in explained)
    if fixed <= room:
        return _with_subjects(groups, explained, room - fixed)
    # No room for what it means: only headlines, as many as fit.
    kept: list[str] = []
    for place, line in enumerate(headlines):
        if sum(map(len, kept)) + len(kept) + len(line) + _MORE_CHARS > room:
            left = sum(len(group) for group in groups[place:])
            kept.append(f"and {left:,} more")
            break
        kept.append(line)
    return _cut("\n".join(kept), room)


def _paragraph(group: Sequence[Note], headline: str) -> tuple[str, str]:
    """What stands before and after the names of a group's incidents."""
    first = group[0]
    if len(group) == 1:
        return headline, f"\n{_text(first)}"
    return f"{headline}: ", f"\n{first.meaning}"


def _with_subjects(
    groups: Sequence[Sequence[Note]], paragraphs: Sequence[tuple[str, str]], room: int
) -> str:
    texts = []
    for group, (head, tail) in zip(groups, paragraphs, strict=True):
        names = _names([note.subject for note in group], room) if len(group) > 1 else ""
        room -= len(names)
        texts.append(head + names + tail)
    return "\n\n".join(texts)


def _names(subjects: Sequence[str], room: int) -> str:
    """As many names as fit, and the count of the others."""
    kept, used = [], 0
    for place, subject in enumerate(subjects):
        is_last = place == len(subjects) - 1
        if used + len(subject) + (0 if is_last else _MORE_CHARS) > room:
            kept.append(f"{len(subjects) - place:,} more")
            break
        kept.append(subject)
        used += len(subject) + 2
    return ", ".join(kept)


def _text(note: Note) -> str:
    return "\n".join(filter(None, [*note.facts, note.meaning, note.command]))


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(0, room - 1)] + "…" * (room > 0)
