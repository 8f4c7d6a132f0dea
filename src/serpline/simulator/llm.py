"""OpenAI-compatible chat completions, in the dialects of several vendors.

The answer is computed from the prompt's text (``scoring``): the same text gets the same answer in
every dialect. It fits the given schema, from an enforced response format or from the prompt.
Limits: one choice, no streaming, no tools.
"""

import json
from typing import Any
from urllib.parse import parse_qs

from serpline.simulator.config import SimulatorConfig
from serpline.simulator.journal import Ledger
from serpline.simulator.llm_dialects import dialect_named
from serpline.simulator.routes import UNKNOWN, operation_of
from serpline.simulator.schema_fill import BadSchema, check_strict, fill
from serpline.simulator.scoring import TextScore, score_text
from serpline.simulator.seeds import hex_id, stamp
from serpline.simulator.wire import (
    BadBody,
    Operation,
    Reply,
    Request,
    identity_of,
    json_reply,
    retry_headers,
)
from serpline.simulator.world import World

NAME = "llm"
REQUESTS_A_MINUTE, TOKENS_A_MINUTE = 10_000, 10_000_000
CONTEXT_TOKENS_MAX = 128_000
_CREATED = 1_760_000_000


class Llm:
    """The simulated API. Tokens are charged to the ledger. ``dialect`` may change at any time."""

    name = NAME

    def __init__(self, config: SimulatorConfig, world: World, ledger: Ledger) -> None:
        self._config = config
        self._world = world
        self._ledger = ledger
        self.dialect = dialect_named(config.llm_dialect)

    def describe(self, request: Request) -> Operation:
        """Name the call. Its identity is the hash of the whole body."""
        name = operation_of(NAME, request.method, self._segments(request))
        digest = hex_id(16, request.body.decode(errors="replace"))
        params: dict[str, Any] = {"digest": digest, "size_bytes": len(request.body)}
        try:
            body = request.fields()
        except BadBody:
            body = {}
        params["model"] = body.get("model")
        match = {**params, "prompt": " ".join(_texts(body))[:4_000]}
        return Operation(name, params, identity_of(name, {"digest": digest}), match)

    async def handle(self, request: Request, operation: Operation) -> Reply:
        """Check the key and the request, then answer."""
        key, header = self._config.key(NAME), self.dialect.key_header
        accepted = {"": None, "authorization": f"Bearer {key}"}.get(header, key)
        if accepted is not None and request.headers.get(header) != accepted:
            return self.failure(401)
        if operation.name == "models":
            return json_reply(200, {"object": "list", "data": [{"id": "sim", "object": "model"}]})
        if operation.name == UNKNOWN:
            return _error(404, "Unknown request URL.", "invalid_request_error", "unknown_url")
        try:
            body = request.fields()
            refused = self.dialect.refusal(body)
            if refused is not None:
                return json_reply(*refused)
            return self._chat(body, operation.identity)
        except (BadBody, BadSchema) as error:
            return _error(400, str(error), "invalid_request_error", "invalid_request")

    def failure(self, status: int, *, retry_after: object = None, billed: float = 0.0) -> Reply:
        """OpenAI's errors. No money left is a 429 too, with another code."""
        texts = {
            401: (401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
            402: (
                429,
                "You exceeded your current quota.",
                "insufficient_quota",
                "insufficient_quota",
            ),
            429: (429, "Rate limit reached.", "requests", "rate_limit_exceeded"),
            500: (500, "The server had an error.", "server_error", "server_error"),
            503: (503, "The engine is overloaded.", "server_error", "overloaded"),
        }
        reply = _error(*texts.get(status, (status, "Error", "server_error", "server_error")))
        reply.headers.update(retry_headers(retry_after))
        reply.credits = billed
        return reply

    def _chat(self, body: dict[str, Any], identity: str) -> Reply:
        texts = _texts(body)
        if not body.get("model") or not texts:
            raise BadBody("you must provide a model and messages")
        prompt_tokens = sum(_tokens(text) for text in texts)
        if prompt_tokens > CONTEXT_TOKENS_MAX:
            message = f"This model's maximum context length is {CONTEXT_TOKENS_MAX} tokens."
            return _error(400, message, "invalid_request_error", "context_length_exceeded")
        answer = self._answer(body, score_text(_subject(texts), self._world.directory))
        thought_tokens = self.dialect.thought_tokens
        completion_tokens = _tokens(json.dumps(answer)) + thought_tokens
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        reason = "stop"
        reply = {"role": "assistant", "annotations": [], **self.dialect.message(answer)}
        if isinstance(limit, int) and completion_tokens > limit:
            whole = answer if isinstance(answer, str) else json.dumps(answer)
            reply["content"] = whole[: max(0, limit - thought_tokens) * 4]
            completion_tokens, reason = limit, "length"
        total = prompt_tokens + completion_tokens
        if not self._ledger.charge(NAME, total, "tokens", str(body["model"])):
            return self.failure(402)
        value: dict[str, Any] = {
            "id": f"chatcmpl-{hex_id(24, self._config.seed, identity).lower()}",
            "object": "chat.completion",
            "created": _CREATED + stamp(identity) % 1_000_000,
            "model": body["model"],
            "choices": [{"index": 0, "message": reply, "logprobs": None, "finish_reason": reason}],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": total,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {
                    "reasoning_tokens": min(thought_tokens, completion_tokens)
                },
            },
            "system_fingerprint": "fp_simulated",
        }
        if not self.dialect.reports_usage:
            del value["usage"]
        if not self.dialect.reports_model:
            del value["model"]
        headers = {
            "x-ratelimit-limit-requests": str(REQUESTS_A_MINUTE),
            "x-ratelimit-remaining-requests": str(REQUESTS_A_MINUTE - 1),
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-limit-tokens": str(TOKENS_A_MINUTE),
            "x-ratelimit-remaining-tokens": str(TOKENS_A_MINUTE - total),
            "x-ratelimit-reset-tokens": "6m0s",
            "x-request-id": f"req_{hex_id(20, identity).lower()}",
        }
        return json_reply(200, value, headers, billed=total)

    def _answer(self, body: dict[str, Any], score: TextScore) -> Any:
        response_format = body.get("response_format") or {"type": "text"}
        if not isinstance(response_format, dict):
            raise BadBody("response_format must be an object")
        form = str(response_format.get("type"))
        handling = self.dialect.response_formats.get(form)
        if form == "json_schema" and handling == "enforced":
            given = response_format.get("json_schema")
            if not isinstance(given, dict) or not isinstance(given.get("schema"), dict):
                raise BadSchema("Missing required parameter: 'response_format.json_schema.schema'.")
            if not given.get("name"):
                raise BadSchema("Missing required parameter: 'response_format.json_schema.name'.")
            if given.get("strict"):
                check_strict(given["schema"], str(given["name"]))
            return fill(given["schema"], score)
        prompt_schema = _schema_in(_texts(body))
        if prompt_schema is not None:
            return fill(prompt_schema, score)
        if form == "json_object" and handling == "enforced":
            return score.plain()
        return score.summary

    def _segments(self, request: Request) -> list[str]:
        """OpenAI's path for a request; ``UNKNOWN`` if it does not match this dialect's path."""
        before = [part for part in self.dialect.path.split("/") if part]
        after = request.segments[len(before) :]
        query = parse_qs(self.dialect.query.removeprefix("?"))
        if request.segments[: len(before)] != before or request.query.keys() != query.keys():
            return [UNKNOWN]
        return ["v1", *after]


def _texts(body: dict[str, Any]) -> list[str]:
    """The texts of the messages, in order."""
    messages = body.get("messages")
    texts = []
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [str(part.get("text", "")) for part in content if isinstance(part, dict)]
    return texts


def _subject(texts: list[str]) -> list[str]:
    """The messages' texts. One message with instruction and subject is split into both."""
    if len(texts) == 1 and "\n\n{" in texts[0]:
        instruction, _, subject = texts[0].rpartition("\n\n{")
        return [instruction, f"{{{subject}"]
    return texts


def _schema_in(texts: list[str]) -> dict[str, Any] | None:
    """The JSON schema in a prompt, if there is one."""
    for text in texts:
        at = text.find('{"type":"object"')
        if at >= 0:
            schema: dict[str, Any] = json.JSONDecoder().raw_decode(text, at)[0]
            return schema
    return None


def _tokens(text: str) -> int:
    """Estimate tokens: four bytes each, as for English with OpenAI's tokenisers."""
    return max(1, len(text.encode()) // 4)


def _error(status: int, message: str, kind: str, code: str) -> Reply:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json_reply(status, {"error": error})
