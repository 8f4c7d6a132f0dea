"""A message says everything that it stands for, within the room that its service has."""

from uuid import UUID

import pytest

from serpline.notifications.digest import compose
from serpline.notifications.note import Level, Note

ID = UUID(int=7)
ROOM = 32_768


def note(subject: str, many: str = "runs failed", level: Level = Level.FAILURE) -> Note:
    return Note(
        level, f"{subject} happened", many, subject, (f"Fact {subject}.",), "It means.", "show it"
    )


def test_one_notification_in_full() -> None:
    """A message about one incident has its facts, its meaning, its command and the message's id."""
    message = compose(ID, [note("a")], body_chars_max=ROOM)
    assert message.title == "serpline: a happened"
    assert message.body == f"Fact a.\nIt means.\nshow it\n\nMessage {ID}"
    assert message.level is Level.FAILURE


def test_a_digest_groups_what_is_alike() -> None:
    """Incidents of one kind are one paragraph with all names; the worst kind comes first."""
    notes = [note("s", "slots", Level.WARNING), note("a"), note("b"), note("c")]
    message = compose(ID, notes, body_chars_max=ROOM)
    assert message.title == "serpline: 3 runs failed and 1 more"
    assert message.body == (
        "3 runs failed: a, b, c\nIt means.\n\ns happened\nFact s.\nIt means.\nshow it\n\n"
        f"All of it: serpline notifications log --message {ID}\nMessage {ID}"
    )


def test_a_thousand_names_fit_a_usual_service() -> None:
    """A digest for a service with the usual room names each of a thousand runs."""
    names = [f"{n:08x}" for n in range(1000)]
    message = compose(ID, [note(name) for name in names], body_chars_max=ROOM)
    assert all(name in message.body for name in names)


@pytest.mark.parametrize("room", [140, 500, 1000, 2000, 4096])
@pytest.mark.parametrize("kinds", [1, 3, 200])
def test_little_room(room: int, kinds: int) -> None:
    """With less room a digest counts what it does not name, and keeps to the room."""
    notes = [note(f"{n:08x}", f"kind {n % kinds} of incident") for n in range(600)]
    message = compose(ID, notes, body_chars_max=room)
    assert len(message.title) + len(message.body) <= room or room < 300
    assert str(ID) in message.body
    if room >= 500:
        assert "more" in message.body


def test_named_and_counted_are_all() -> None:
    """The named and the counted incidents of a digest are all that it stands for."""
    message = compose(ID, [note(f"{n:08x}") for n in range(600)], body_chars_max=2000)
    first = message.body.splitlines()[0]
    names = first.partition(": ")[2].split(", ")
    assert names[-1].endswith(" more")
    assert len(names) - 1 + int(names[-1].removesuffix(" more").replace(",", "")) == 600


def test_a_long_note_is_cut() -> None:
    """One incident with long facts keeps to the room, and keeps the message's id."""
    long = Note(Level.INFO, "h" * 400, "m", "s", ("f" * 900,), "x", "y")
    message = compose(ID, [long], body_chars_max=1000)
    assert len(message.title) + len(message.body) <= 1000
    assert str(ID) in message.body
