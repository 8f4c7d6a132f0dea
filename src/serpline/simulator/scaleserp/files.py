"""The files of a result set: pages as JSON, JSON lines or CSV, and all pages in a zip.

Files are made on request, from the result set only, so they never change.
"""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from serpline.simulator.scaleserp.batches import Batch, ResultSet, pages
from serpline.simulator.scaleserp.search import credits_of, respond
from serpline.simulator.seeds import hex_id, stamp, unit
from serpline.simulator.world import World

DOWNLOAD_HOST = "downloads.scaleserp.example"
_NAME = re.compile(
    r"^Batch_Results_(?P<batch>[0-9A-F]+)_(?P<set>\d+)_"
    r"(?:Page_(?P<page>\d+)\.(?P<kind>json|jsonl|csv)|All_Pages_(?P<all>json|jsonl|csv)\.zip)$"
)
_TYPES = {"json": "application/json", "jsonl": "application/jsonlines", "csv": "text/csv"}
_RESULTS = ("organic_results", "news_results", "video_results")
_COLUMNS = ("custom_id", "q", "success", "section", "position", "title", "link", "domain", "date")


class Files:
    """Makes the files of result sets, with ``page_size`` searches per page.

    Like the vendor's, their results contain addresses with the account's ``api_key``.
    """

    def __init__(self, world: World, page_size: int, api_key: str) -> None:
        self._world = world
        self._page_size = page_size
        self._api_key = api_key

    def links(self, batch: Batch, result_set: ResultSet, kind: str) -> dict[str, Any]:
        """The download links of one kind: json, jsonl or csv."""
        base = f"https://{DOWNLOAD_HOST}/Batch_Results_{batch.id}_{result_set.id}"
        count = self.page_count(result_set)
        return {
            "pages": [f"{base}_Page_{page}.{kind}" for page in range(1, count + 1)],
            "all_pages": f"{base}_All_Pages_{kind}.zip",
        }

    def page_count(self, result_set: ResultSet) -> int:
        """The number of page files."""
        return pages(len(result_set.searches), self._page_size)

    @staticmethod
    def parse(name: str) -> dict[str, str | None] | None:
        """The parts of a file name: batch, set, page, kind or all; None for another name."""
        found = _NAME.match(name)
        return found.groupdict() if found else None

    def make(
        self, batch: Batch, result_set: ResultSet, parts: dict[str, str | None]
    ) -> tuple[bytes, str] | None:
        """Make a file: its bytes and media type; None for a page that does not exist.

        Takes about a millisecond per search: call it in a thread.
        """
        count = self.page_count(result_set)
        if parts["all"]:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for page in range(1, count + 1):
                    name = f"Batch_Results_{batch.id}_{result_set.id}_Page_{page}.{parts['all']}"
                    # A fixed time makes the file the same, byte for byte.
                    entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, self._page(result_set, page, parts["all"]))
            return packed.getvalue(), "application/zip"
        page, kind = int(parts["page"] or 0), parts["kind"] or "json"
        if not 1 <= page <= count:
            return None
        return self._page(result_set, page, kind), _TYPES[kind]

    def _page(self, result_set: ResultSet, page: int, kind: str) -> bytes:
        records = self._records(result_set, page)
        if kind == "csv":
            return _csv(records)
        lines = [json.dumps(record, ensure_ascii=False) for record in records]
        if kind == "jsonl":
            return "".join(f"{line}\n" for line in lines).encode()
        return f"[{','.join(lines)}]".encode()

    def _records(self, result_set: ResultSet, page: int) -> Iterator[dict[str, Any]]:
        first = (page - 1) * self._page_size
        for search, outcome in result_set.searches[first : first + self._page_size]:
            if outcome == "missing":
                continue
            yield self._record(result_set, search, outcome)
            if outcome == "duplicate":
                again = {**search, "id": hex_id(10, "again", search["id"])}
                yield self._record(result_set, again, "ok")

    def _record(
        self, result_set: ResultSet, search: dict[str, str], outcome: str
    ) -> dict[str, Any]:
        seconds = round(0.8 + 4 * unit(self._world.seed, search["id"], result_set.id), 2)
        record = {"id": search["id"], "success": outcome != "failed"}
        if outcome == "failed":
            # Failed records are undocumented: all three plausible shapes occur.
            shapes: list[dict[str, Any]] = [
                {},
                {"result": None},
                {"result": {"request_info": {"success": False, "message": "Request failed."}}},
            ]
            record.update(shapes[stamp(self._world.seed, "shape", search["id"]) % len(shapes)])
        else:
            params = {k: v for k, v in search.items() if k not in ("id", "custom_id")}
            params["api_key"] = self._api_key
            info = {"success": True, "credits_used_this_request": credits_of(search)}
            record["result"] = respond(self._world, result_set.day, params, info)
        return {**record, "search": search, "total_time_taken": seconds}


def _csv(records: Iterator[dict[str, Any]]) -> bytes:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(_COLUMNS)
    for record in records:
        search, result = record["search"], record.get("result") or {}
        head = [search.get("custom_id", ""), search["q"], str(record["success"]).lower()]
        for section in _RESULTS:
            for row in result.get(section, ()):
                writer.writerow([*head, section, *(row.get(name, "") for name in _COLUMNS[4:])])
    return table.getvalue().encode()
