"""What a text may hold to be kept."""


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can keep it: no NUL, no half of a surrogate pair.

    Such halves are also what bytes of the command line become that are not UTF-8.
    """
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
