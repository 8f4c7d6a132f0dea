"""Row 13: bodies that no vendor documents give a whole value or a ``ProviderError``.

Every provider's documents are mutated (values replaced, removed, repeated, bytes changed or cut)
and read by the call they answer. Each value is checked field by field against its declared types,
and PostgreSQL must be able to store it. Every entry of a list must be read, or counted as
unreadable.
"""

import copy
import json
import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from harness.figures import Figure, at_least, zero
from harness.replies import CASES, DOCUMENTS, KEY, SUBJECTS
from pydantic import TypeAdapter, ValidationError

from chaos.entries import lost_entry
from chaos.scorecard import Context, Row
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, ProviderCall

HOSTILE_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**63, -(2**70), 10**400, 1e300, math.nan, math.inf, "", " ",
    "x", "-1", "1e999", "9" * 400, "٣", "²", "a\x00b", "\ud800", "https://[", "http://a:b", KEY,
    [], ["x"], [[]], {}, {"x": {}}, [None], {"": None},
)  # fmt: skip
STATUSES = (200,) * 20 + (204, 302, 400, 401, 402, 403, 404, 429, 500, 503)
HEADERS: tuple[dict[str, str], ...] = ({},) * 6 + (
    {"retry-after": "9" * 30}, {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"},
    {"x-call-credits-spent": "1e999"}, {"x-ratelimit-reset": KEY},
)  # fmt: skip
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def subjects() -> dict[str, list[tuple[str, ProviderCall[Any], Any]]]:
    """Provider → its calls, each with a name and a document."""
    found: dict[str, list[tuple[str, ProviderCall[Any], Any]]] = {}
    for name, (call, document) in CASES.items():
        found.setdefault(call.provider, []).append((name, call, document))
    for name, (file, call) in SUBJECTS.items():
        document = json.loads((DOCUMENTS / file).read_bytes())
        found.setdefault(call.provider, []).append((name, call, document))
    return found


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document, starting with the document's own."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_of(item, (*path, key))


def mutated(rng: random.Random, document: Any) -> bytes:
    """The document with one to four mutations; in a quarter of cases also its bytes."""
    changed = [copy.deepcopy(document)]
    for _ in range(rng.randint(1, 4)):
        *way, last = rng.choice([(0, *path) for path in paths_of(changed[0])])
        holder: Any = changed
        for step in way:
            holder = holder[step]
        action = rng.choice(("replace", "replace", "remove", "repeat", "swap"))
        if action == "remove" and way:
            del holder[last]
        elif action == "repeat" and isinstance(holder, list) and way:
            holder.insert(last, copy.deepcopy(holder[last]))
        elif action == "swap":
            holder[last] = rng.choice((str(holder[last]), [holder[last]], {"x": holder[last]}))
        else:
            holder[last] = copy.deepcopy(rng.choice(HOSTILE_VALUES))
    raw = bytearray(json.dumps(changed[0]).encode())
    match rng.randrange(12):
        case 0:
            del raw[rng.randint(0, len(raw)) :]
        case 1:
            for _ in range(rng.randint(1, 5)):
                raw[rng.randrange(len(raw)) : 0] = rng.randbytes(rng.randint(0, 2))
        case 2 if raw:
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


@cache
def adapters(kind: type) -> dict[str, TypeAdapter[Any]]:
    """A type check for each field of a dataclass."""
    hints = get_type_hints(kind)
    return {field.name: TypeAdapter(hints[field.name]) for field in fields(kind)}


def flaws(value: Any) -> Iterator[str]:
    """The parts of a parsed value that are not as declared, or cannot be stored."""
    if isinstance(value, str):
        if UNSTORABLE.search(value):
            yield "text that cannot be stored"
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield "a number that is not finite"
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            yield "a number too large to store"
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            yield from flaws(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from flaws(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for name, adapter in adapters(type(value)).items():
            part = getattr(value, name)
            try:
                adapter.validate_python(part, strict=True)
            except ValidationError:
                yield f"{type(value).__name__}.{name} is no {adapter}"
            yield from flaws(part)


def read_mutated(call: ProviderCall[Any], reply: HttpReply, found: Counter[str]) -> None:
    """Read and bill one reply; count the outcome in ``found``."""
    try:
        value = call.parse(reply)
    except ProviderError as error:
        found["refused"] += 1
        found["key"] += KEY in str(error)
    except Exception as error:  # noqa: BLE001  the count is the finding
        found["untyped"] += 1
        found[f"{call.provider} {call.operation}: {type(error).__name__}"] += 1
    else:
        found["read"] += 1
        wrong = next(flaws(value), "a lost entry" if lost_entry(call, value, reply.body) else "")
        if wrong:
            found["partial"] += 1
            found[f"{call.provider} {call.operation}: {wrong}"] += 1
    try:
        cost = 0.0 if call.billed is None else call.billed(reply)
        found["cost"] += not (math.isfinite(cost) and cost >= 0)
    except Exception:  # noqa: BLE001  the same
        found["untyped"] += 1


async def campaign(context: Context) -> Sequence[Figure]:
    """Read mutated bodies of each provider, its calls by turns."""
    found: Counter[str] = Counter()
    fewest, bodies = math.inf, context.sized(300, 20_000)
    for provider, calls in subjects().items():
        rng = context.random(provider)
        before = found["read"] + found["refused"] + found["untyped"]
        for number in range(bodies):
            _, call, document = calls[number % len(calls)]
            body = mutated(rng, document)
            reply = HttpReply(rng.choice(STATUSES), rng.choice(HEADERS), body)
            read_mutated(call, reply, found)
        fewest = min(fewest, found["read"] + found["refused"] + found["untyped"] - before)
    return [
        at_least("providers", len(subjects()), 6),
        at_least("bodies per provider", fewest, bodies),
        at_least("bodies read", found["read"], bodies),
        at_least("bodies refused", found["refused"], bodies),
        zero("untyped exceptions", found["untyped"]),
        zero("partial rows", found["partial"]),
        zero("invalid costs", found["cost"]),
        zero("API keys in messages", found["key"]),
    ]


ROW = Row(
    number=13,
    test="20,000 mutated JSON bodies per provider",
    passes="0 untyped exceptions, 0 partial rows",
    campaign=campaign,
    switched_off=(
        "No check that a part of a reply is an object, and no removal of text that PostgreSQL"
        " cannot store: 103 untyped exceptions and 3 partial rows in 300 bodies per provider."
        " Records without a search and videos without a title dropped: 14 more partial rows."
    ),
)
