"""Read a configuration document: JSON in UTF-8, with no key given twice in an object."""

import json
from typing import Any

from serpline.config.model import shown
from serpline.domain.errors import UserError

SIZE_BYTES_MAX = 1_000_000


def read_json(document: bytes) -> Any:
    """Return the value of a document. Raises ``UserError`` with one line."""
    if len(document) > SIZE_BYTES_MAX:
        raise UserError(f"larger than {SIZE_BYTES_MAX} bytes; is this a configuration?")
    try:
        return json.loads(document.decode("utf-8-sig"), object_pairs_hook=_each_key_once)
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8: invalid byte at offset {error.start}") from None
    except RecursionError:
        raise UserError("JSON nested too deeply") from None
    except ValueError as error:
        raise UserError(f"not JSON: {error}") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UserError(f"{shown(key)}={shown(value)}: the key is given twice")
        found[key] = value
    return found
