"""Identifiers. Random ones for what people start, derived ones for what must not exist twice."""

import hashlib
import json
import re
import secrets
import uuid
from typing import Any

_SECRET_PATH = re.compile(r"[A-Za-z0-9_-]+")
_NAMESPACE = uuid.UUID("6f6b1c1e-5a0e-4b0e-9b0a-6d8d4f1c7e55")


def new_id() -> uuid.UUID:
    """A random identifier, for runs that a person starts."""
    return uuid.uuid4()


def derived_id(*parts: str) -> uuid.UUID:
    """The same identifier for the same parts, in every process and release."""
    return uuid.uuid5(_NAMESPACE, "\x1f".join(parts))


def secret_path() -> str:
    """32 random bytes as URL-safe text: a callback path that cannot be guessed."""
    return secrets.token_urlsafe(32)


def may_be_secret_path(text: str) -> bool:
    """Whether ``secret_path`` could have made it, by its characters."""
    return _SECRET_PATH.fullmatch(text) is not None


def digest(value: Any) -> str:
    """A stable SHA-256 (hex) of any JSON value; the order of an object's keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
