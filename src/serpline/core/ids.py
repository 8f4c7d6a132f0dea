"""Identifiers: random ones, and derived ones for things that must exist once."""

import hashlib
import json
import re
import secrets
import uuid
from typing import Any

_SECRET_PATH = re.compile(r"[A-Za-z0-9_-]+")
_NAMESPACE = uuid.UUID("6f6b1c1e-5a0e-4b0e-9b0a-6d8d4f1c7e55")


def new_id() -> uuid.UUID:
    """A random identifier."""
    return uuid.uuid4()


def derived_id(*parts: str) -> uuid.UUID:
    """An identifier derived from the parts, equal in every process and release."""
    return uuid.uuid5(_NAMESPACE, "\x1f".join(parts))


def secret_path() -> str:
    """32 random bytes as URL-safe text: a callback path that cannot be guessed."""
    return secrets.token_urlsafe(32)


def may_be_secret_path(text: str) -> bool:
    """Whether ``text`` has only the characters of ``secret_path``."""
    return _SECRET_PATH.fullmatch(text) is not None


def digest(value: Any) -> str:
    """A stable SHA-256 (hex) of a JSON value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
