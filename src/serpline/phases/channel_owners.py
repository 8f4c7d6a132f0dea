"""What a language model knows of a channel that links to no website: the last resort for its owner.

A channel is asked about once, however many lanes and runs want it; "the model knows none" is an
answer that is kept like any other.
"""

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from serpline.domain.errors import CallRefused, ProviderError
from serpline.domain.outcomes import Outcome
from serpline.phases.base import Work
from serpline.phases.model_calls import ModelCalls
from serpline.phases.tools import (
    Tools,
    as_done,
    bought_elsewhere,
    give_back,
    keep,
    obtain,
    plain,
)

KIND = "channel_owner"
_ASKED_WITH = ("title", "handle", "description", "country")


async def owners(
    tools: Tools, work: Work, channels: Mapping[str, Mapping[str, Any]]
) -> dict[str, str | Outcome]:
    """Channel id → the website that the model names (``""``: it knows none), or an outcome.

    ``channels`` by id, as ``inputs.channels`` gives them. Nothing is asked without a model.
    """
    if tools.owner_llm is None:
        return {}
    model = ModelCalls(tools, work, tools.owner_llm)
    obtained = await obtain(work, KIND, channels)
    found: dict[str, str | Outcome] = {
        channel_id: payload["domain"] for channel_id, payload in obtained.fresh.items()
    }
    found |= {each: bought_elsewhere(work, each) for each in obtained.elsewhere}

    async def ask(channel_id: str) -> tuple[str, dict[str, Any] | Outcome]:
        try:
            channel = channels[channel_id]
            asked = [channel[name] or "" for name in _ASKED_WITH]
            return channel_id, plain(await model.ask(lambda llm: llm.channel_owner(*asked)))
        except (ProviderError, CallRefused) as error:
            return channel_id, work.retries.outcome_for(channel_id, error)

    bought: dict[str, dict[str, Any]] = {}
    async with aclosing(as_done(ask, obtained.mine, tools.call_concurrency)) as answers:
        async for channel_id, answer in answers:
            if isinstance(answer, dict):
                bought[channel_id] = answer
                found[channel_id] = answer["domain"]
            else:
                found[channel_id] = answer
    await keep(work, KIND, bought)
    await give_back(work, KIND, [each for each in obtained.mine if each not in bought])
    return found
