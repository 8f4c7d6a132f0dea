"""Parses the webhook of a finished batch. It is unsigned, so it is only a hint to poll.

Anyone who knows the secret path can send one. Store it, answer it and confirm it with our own key;
never follow a URL in it.
"""

import json
import re
from dataclasses import dataclass, field

from serpline.domain.replies import as_count, as_object, no_constant
from serpline.domain.text import storable
from serpline.providers.scaleserp.wire import identifier

# The sender chooses the id, so it is checked before it reaches a query or a path.
_BATCH_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class BatchNotice:
    """An unproven claim of a webhook. ``body``: all of it, as JSON that PostgreSQL can store."""

    batch_id: str
    result_set_id: int
    body: str = field(repr=False)


def parse_notice(payload: bytes) -> BatchNotice | None:
    """Parse a webhook's body; None if it is no JSON object with a batch and a result set."""
    try:
        value = storable(json.loads(payload.decode("utf-8-sig"), parse_constant=no_constant))
        body = as_object(value)
        # A number too large for a float was parsed as infinity: reject it.
        text = json.dumps(body, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    batch_id = identifier(as_object(body.get("batch")).get("id"))
    set_id = as_count(as_object(body.get("result_set")).get("id"))
    if batch_id is None or set_id is None or not _BATCH_ID.fullmatch(batch_id):
        return None
    return BatchNotice(batch_id, set_id, text)
