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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from harness.figures import Figure, at_least, zero
from harness.replies import CASES, DOCUMENTS, KEY, SUBJECTS
from pydantic import TypeAdapter, ValidationError

from chaos.scorecard import Context, Row
from serpline.domain.errors import ProviderError
from serpline.domain.http import HttpReply, ProviderCall
from serpline.providers.dataforseo.wire import SearchVolumes
from serpline.providers.scaleserp.batches import ResultSet
from serpline.providers.scaleserp.records import BatchRecord
from serpline.providers.scaleserp.wire import SECTIONS, SerpPage
from serpline.providers.youtube.wire import SearchPage

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


Counted = tuple[int, int]
"""Entries that were read or counted as unreadable, and entries in the body."""


def of_page(page: SerpPage, body: Any) -> Counted:
    """Count the results of a search page."""
    lists = [body.get(name) for name in SECTIONS.values()]
    there = sum(len(items) for items in lists if isinstance(items, list))
    return len(page.organic) + len(page.news) + len(page.video) + page.unreadable, there


def of_file(records: Sequence[BatchRecord], body: Any) -> Counted:
    """Count the records of a page file, including failed ones, and each one's results."""
    counted = [(len(records), len(body))]
    for record, entry in zip(records, body, strict=False):
        if record.page is not None:
            counted.append(of_page(record.page, entry["result"]))
    # Record by record: a surplus in one must not hide a loss in another.
    return next((each for each in counted if each[0] != each[1]), counted[0])


def of_links(found: ResultSet, body: Any) -> Counted:
    """Count the page files of a result set by their links, or by its own number if smaller."""
    links, stated = (body["result"].get(name) for name in ("download_links", "results_page_count"))
    listed = links.get("pages") if isinstance(links, dict) else None
    there = len(listed) if isinstance(listed, list) else 0
    if str(stated).isdecimal() and 0 < int(stated) < there:
        there = int(stated)
    # Readers of ``page_count`` notice a missing link.
    return min(max(len(found.page_links), found.page_count), there), there


def of_keywords(volumes: SearchVolumes, body: Any) -> Counted:
    """Count rows. A row without a keyword shows as a requested keyword without a row."""
    rows = body["tasks"][0].get("result")
    named = [row for row in rows if has_text(row, "keyword")] if isinstance(rows, list) else []
    return len(volumes.metrics), len(named)


def of_requested(key: str, call: ProviderCall[Any], value: Mapping[str, Any], body: Any) -> Counted:
    """Count requested resources by id; repeated ones count once.

    A row without an id may be about any of them. Then each has an entry, marked as unreadable.
    """
    requested = {*call.identity[key].split(",")}
    items = body.get("items", [])
    named = {item["id"].strip() for item in items if has_text(item, "id")} & requested
    return len(value), len(named if all(has_text(item, "id") for item in items) else requested)


def of_videos_found(page: SearchPage, body: Any) -> Counted:
    """Count results that name a video; repeated ones once, other kinds not at all."""
    items: list[Any] = body.get("items", [])
    ids: list[Any] = [item.get("id") for item in items if isinstance(item, dict)]
    return len(page.ids), len({i["videoId"].strip() for i in ids if has_text(i, "videoId")})


def of_companies(call: ProviderCall[Any], value: Mapping[str, Any], body: Any) -> Counted:
    """Count requested domains with a row; the best row of each is taken.

    A row without a website may be about any of them. Then each has an entry, marked as unreadable.
    """
    uris = [website(row) for row in body["results"]["bindings"]]
    if None in uris:
        return len(value), len({*call.identity["domains"]})
    parts = [uri.partition("://") for uri in uris if uri]
    hosts = {
        host.strip("/").removeprefix("www.")
        for scheme, _, host in parts
        if scheme in ("http", "https")
    }
    return len(value), len(hosts & {*call.identity["domains"]})


def website(row: Any) -> str | None:
    """The website in a row, if there is one."""
    site = row.get("site") if isinstance(row, dict) else None
    has_site = isinstance(site, dict) and site.get("type") == "uri" and has_text(site, "value")
    return str(site["value"]).strip() if has_site and site else None


def has_text(item: Any, key: str) -> bool:
    """Whether an object has text under ``key``."""
    return isinstance(item, dict) and isinstance(item.get(key), str) and bool(item[key].strip())


def counted(call: ProviderCall[Any], value: Any, body: Any) -> Counted:
    """The entries of a list reply, as read and as in the body; (0, 0) for other replies."""
    match call.provider, call.operation:
        case "scaleserp", "search":
            return of_page(value, body)
        case "scaleserp", "page_file":
            return of_file(value, body)
        case "scaleserp", "result_set":
            return of_links(value, body)
        case "scaleserp", "searches_page":
            return len(value.searches), len(body["searches"])
        case "scaleserp", "results":
            return len(value), len(body["results"])
        case "dataforseo", "search_volume":
            return of_keywords(value, body)
        case "youtube", "videos" | "playlists":
            return of_requested("id", call, value, body)
        case "youtube", "channels" if "id" in call.identity:
            return of_requested("id", call, value, body)
        case "youtube_search", _:
            return of_videos_found(value, body)
        case "wikidata", _:
            return of_companies(call, value, body)
    return 0, 0


def lost_entry(call: ProviderCall[Any], value: Any, body: bytes) -> bool:
    """Whether an entry of a list was neither read nor counted."""
    read, there = counted(call, value, json.loads(body.decode("utf-8-sig")))
    return read != there


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
