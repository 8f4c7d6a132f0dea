"""YAML documents are read as JSON would be."""

from typing import Any

import pytest

from serpline.config.documents import SIZE_BYTES_MAX, read_yaml
from serpline.domain.errors import UserError


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("10:30", "10:30"),
        ("09:00", "09:00"),
        ("2026-01-31", "2026-01-31"),
        ("yes", "yes"),
        ("on", "on"),
        ("012", "012"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("-3", -3),
        ("1.5", 1.5),
        ("5e-1", 0.5),
        ("true", True),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("[a, 1]", ["a", 1]),
        ("!!str 5", "5"),
    ],
)
def test_values(written: str, value: Any) -> None:
    """Only JSON's types are read; times, dates and words stay text."""
    assert read_yaml(f"key: {written}".encode()) == {"key": value}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"a: 1\na: 2", "'a'=2: the key is given twice"),
        (b"a: &x 1\nb: *x", "not YAML: line 2, column 4: aliases are not read"),
        (b"\xff", "not UTF-8: invalid byte at offset 0"),
        (b"a: [", "not YAML: line 1, column 5: expected the node content"),
        (b"1: 2", "not YAML: line 1, column 1: the key 1 is not text"),
        (b"a: !!python/object:os.x {}", "line 1, column 4: the tag 'tag:yaml.org,2002:python"),
        (b"a: !!bool maybe", "line 1, column 4: the tag 'tag:yaml.org,2002:bool' is not read"),
        (b"a: !!int ''", "the tag 'tag:yaml.org,2002:int' is not read"),
        (b"a: !!int 0x" + b"f" * 6000, "the tag 'tag:yaml.org,2002:int' is not read"),
        (b"a: !!timestamp soon", "the tag 'tag:yaml.org,2002:timestamp' is not read"),
        (b"a: !!set {b, c}", "the tag 'tag:yaml.org,2002:set' is not read"),
        (b"a: !mine 1", "the tag '!mine' is not read"),
        (b"a: " + b"9" * 5000, "a number has more than 4300 digits"),
        (b"a: \x00", "not YAML: unacceptable character #x0000"),
        (b"[" * 50_000, "YAML nested too deeply"),
        (b"--- 1\n--- 2", "not YAML: line 2, column 1: but found another document"),
        (b" " * (SIZE_BYTES_MAX + 1), f"larger than {SIZE_BYTES_MAX} bytes"),
    ],
)
def test_refused(document: bytes, message: str) -> None:
    """The error is one line with the place."""
    with pytest.raises(UserError) as refused:
        read_yaml(document)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
