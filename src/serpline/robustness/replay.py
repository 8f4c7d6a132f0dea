"""Answer a call from the ledger alone, as a recomputation does.

Promise: nothing is sent, reserved or written. A call without a stored reply is refused with
``ReplyNotStored``. The replayed run's own reply comes first. It made no call for what it had from
an earlier run, so that run's reply serves too, but none that came after the replayed run's end.
"""

from typing import Any

from serpline.domain.errors import ReplyNotStored
from serpline.domain.http import HttpReply, ProviderCall
from serpline.robustness.calls import Replay, call_key
from serpline.robustness.ledger import Ledger
from serpline.store.calls.replies import Lookup


async def stored_reply(
    ledger: Ledger, call: ProviderCall[Any], freshness: str, replay: Replay
) -> HttpReply:
    """The stored reply to a call, however old it is."""
    lookup = Lookup(call_key(call, freshness), replay.run_id, replay.until)
    found = await ledger.find(lookup, large=call.request.large)
    if found is None:
        raise ReplyNotStored(f"{call.provider} {call.operation}")
    return found[1]
