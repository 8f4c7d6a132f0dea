"""How many entries of a list reply were read, and how many its body has.

An entry is lost if it was neither read nor counted as unreadable.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from serpline.domain.http import ProviderCall
from serpline.providers.dataforseo.wire import SearchVolumes
from serpline.providers.scaleserp.batches import ResultSet
from serpline.providers.scaleserp.records import BatchRecord
from serpline.providers.scaleserp.wire import SECTIONS, SerpPage
from serpline.providers.youtube.wire import SearchPage

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
