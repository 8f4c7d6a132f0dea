"""Secrets in bytes that come in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from serpline.core.masking import MASK, StreamMask, mask

SECRETS = ("canary", "an/other", "x")
PARTS = st.lists(st.sampled_from([b"canary", b"can", b"ary", b"an%2fother", b"an", b"x", b" "]))


def masked(pieces: list[bytes], chars_min: int = 1) -> bytes:
    masking = StreamMask(SECRETS, chars_min)
    return b"".join([*map(masking.feed, pieces), masking.finish()])


@given(PARTS)
def test_joints_hide_no_secret(pieces: list[bytes]) -> None:
    """However a body is cut, what comes out is what the whole of it would give."""
    whole = b"".join(pieces)
    assert masked(pieces) == masked([whole])
    for spelling in (b"canary", b"an%2fother", b"x"):
        assert spelling not in masked(pieces)


def test_every_byte_may_be_a_piece() -> None:
    """A secret that comes byte by byte is found; nothing else changes."""
    text = "before canary, after an/other"
    pieces = [bytes([byte]) for byte in text.encode()]
    assert masked(pieces) == mask(text, SECRETS).encode() == f"before {MASK}, after {MASK}".encode()


def test_a_short_spelling_may_be_left() -> None:
    """Below the minimum a chance match changes nothing."""
    assert masked([b"x can", b"ary x"], chars_min=5) == f"x {MASK} x".encode()


def test_nothing_to_hide_holds_nothing_back() -> None:
    """Without secrets each piece passes at once."""
    masking = StreamMask(())
    assert (masking.feed(b"abc"), masking.finish()) == (b"abc", b"")
