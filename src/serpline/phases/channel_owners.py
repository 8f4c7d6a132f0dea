"""The owner of a channel without a website, as a language model names it.

One answer per channel, model and prompt serves all lanes and runs. "Unknown" is an answer and is
stored too.
"""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from serpline.core.ids import digest
from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.outcomes import Outcome
from serpline.phases.base import Work
from serpline.phases.model_calls import ModelCalls
from serpline.phases.tools import (
    Tools,
    as_done,
    claim_missing,
    release_claims,
    snooze_until_bought,
    to_json,
)
from serpline.providers.llm.owner import OWNER

KIND = "channel_owner"
_FACTS = ("title", "handle", "description", "country")


async def owners(
    tools: Tools, work: Work, channels: Mapping[str, Mapping[str, Any]]
) -> dict[str, str | Outcome]:
    """Channel id → the website that the model names (``""``: unknown), or an outcome.

    ``channels``: by id, from ``inputs.channels``. Empty if no model is set up.
    """
    # Stored replies answer a recomputation, whatever is set up now.
    llm = tools.llm if work.config.is_replay else tools.owner_llm
    if llm is None:
        return {}
    model = ModelCalls(tools, work, llm)
    version = digest([llm.model, OWNER.version])[:32]
    keys = {f"{version} {channel_id}": channel_id for channel_id in channels}
    claims = await claim_missing(work, KIND, keys)
    found: dict[str, str | Outcome] = {
        keys[key]: payload["domain"] for key, payload in claims.fresh.items()
    }
    found |= {keys[key]: snooze_until_bought(work, keys[key]) for key in claims.in_flight_elsewhere}

    async def ask(key: str) -> tuple[str, Mapping[str, Any] | Outcome]:
        try:
            channel = channels[keys[key]]
            facts = [channel[name] or "" for name in _FACTS]
            bought = await model.buy(
                KIND, lambda owner: {key: to_json(owner)}, lambda llm: llm.channel_owner(*facts)
            )
        except (ProviderError, CallRefused) as error:
            return key, work.retries.outcome_for(keys[key], error)
        return key, bought[key]

    unanswered: list[str] = []
    async with aclosing(as_done(ask, claims.to_fetch, tools.call_concurrency)) as answers:
        async for key, answer in answers:
            if isinstance(answer, Mapping):
                found[keys[key]] = answer["domain"]
            else:
                found[keys[key]] = answer
                unanswered.append(key)
    await release_claims(work, KIND, unanswered)
    return found
