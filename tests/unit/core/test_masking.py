"""Secrets in bytes that come in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from serpline.core.masking import MASK, StreamMask

# One is part of another, and one is part of the mask.
SECRETS = ("canary", "canary-bird-2", "ary-b", "an/other", "D")
WHOLE = (b"canary-bird-2", b"canary", b"an%2fother", b"D", b" ")
PARTS = st.lists(st.sampled_from([*WHOLE, b"can", b"ary", b"-bird", b"-2", b"b", b"an"]))


def masked(pieces: list[bytes], chars_min: int = 1) -> bytes:
    masking = StreamMask(SECRETS, chars_min)
    return b"".join([*map(masking.feed, pieces), masking.finish()])


@given(PARTS, st.integers(1, 7))
def test_joints_hide_no_secret(parts: list[bytes], size: int) -> None:
    """The result is the same for any pieces, and all secrets are gone."""
    whole = b"".join(parts)
    cut = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert masked(cut) == masked([whole]) == masked(parts)
    left = masked(cut).replace(MASK.encode(), b"|")
    assert not any(secret.encode() in left for secret in ("canary", "an/other", "D"))


def test_every_byte_may_be_a_piece() -> None:
    """A secret that comes byte by byte is found. Nothing else changes."""
    text = "before canary-bird-2, after an/other"
    pieces = [bytes([byte]) for byte in text.encode()]
    assert masked(pieces) == f"before {MASK}, after {MASK}".encode()


def test_a_short_spelling_may_be_left() -> None:
    """A chance match below the minimum length changes nothing."""
    assert masked([b"D can", b"ary D"], chars_min=5) == f"D {MASK} D".encode()


def test_without_secrets_nothing_is_buffered() -> None:
    """Without secrets each piece passes at once."""
    masking = StreamMask(())
    assert (masking.feed(b"abc"), masking.finish()) == (b"abc", b"")
