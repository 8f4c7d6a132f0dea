"""Recompute the Digital Share Index from exported inputs, independently of serpline.

    serpline dsi inputs --run RUN --output inputs.jsonl
    python recompute_dsi.py inputs.jsonl --company example.com

It shares no code with serpline and needs only Python. Anyone who doubts a figure can read the
formulas here or implement them again. ``docs/figures.md`` describes the formulas and the file.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from statistics import median
from typing import Any, NamedTuple

Record = dict[str, Any]
Place = tuple[str, str, str]  # content type, market, device


class Figure(NamedTuple):
    """A company's figure and its components; None means unknown."""

    content_type: str
    market: str
    device: str
    company: str
    keywords_ranked: int
    keywords_collected: int
    coverage: float
    traffic_share: float | None
    relevance: float | None
    dsi: float | None
    share_unweighted: float | None


def main(arguments: list[str]) -> int:
    """Print the figures as JSON Lines. Return 2 if there are none, or none of the company."""
    parser = argparse.ArgumentParser(description="Recompute the DSI from exported inputs.")
    parser.add_argument("file", help="the output of: serpline dsi inputs")
    parser.add_argument("--company", help="only this company, by its domain")
    given = parser.parse_args(arguments)
    try:
        with open(given.file, encoding="utf-8-sig") as stream:
            figures = list(recompute(_records(stream)))
    except OSError as error:
        return _refused(given.file, error.strerror or str(error))
    except ValueError as error:
        return _refused(given.file, str(error))
    except (LookupError, TypeError, ArithmeticError) as error:
        return _refused(given.file, f"a record has a missing or invalid field: {error!r}")
    shown = [figure for figure in figures if given.company in (None, figure.company)]
    if not shown:
        return _refused(given.file, "no figures" + (f" of {given.company}" if figures else ""))
    for figure in shown:
        sys.stdout.write(json.dumps(figure._asdict()) + "\n")
    sys.stdout.flush()
    return 0


def _refused(file: str, problem: str) -> int:
    sys.stderr.write(f"{file}: {problem}\n")
    return 2


def _records(lines: Iterable[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            raise ValueError(f"line {number} is not JSON") from None
        if not isinstance(record, dict) or record.get("record") not in ("method", "page", "result"):
            raise ValueError(f"line {number} is not a method, page or result record")
        yield record


def recompute(records: Iterable[Record]) -> Iterator[Figure]:
    """Yield the figures of every company, first by content type, then combined (``all``)."""
    methods: dict[Place, Record] = {}
    pages: dict[Place, dict[str, Record]] = defaultdict(dict)
    results: dict[Place, list[Record]] = defaultdict(list)
    for record in records:
        place = _place(record)
        if record["record"] == "method":
            methods[place] = record
        elif record["record"] == "page":
            pages[place][record["keyword"]] = record
        else:
            results[place].append(record)
    typed = {
        place: {each.company: each for each in _of_landscape(method, pages, results[place])}
        for place, method in methods.items()
    }
    for found in typed.values():
        yield from found.values()
    for market, device in sorted({place[1:] for place in methods}):
        yield from _combined(
            [
                (methods[place]["weight"], len(pages[place]), own)
                for place, own in typed.items()
                if place[1:] == (market, device) and methods[place]["weight"] > 0
            ],
            market,
            device,
        )


def _of_landscape(
    method: Record, pages: dict[Place, dict[str, Record]], results: list[Record]
) -> Iterator[Figure]:
    place = content_type, market, _ = _place(method)
    collected = pages[place]
    imputed = None
    if method["unknown_volume"] == "impute":
        # The median of the market's keywords, whichever device they were collected on.
        volumes = {
            keyword: page["volume"]
            for (kind, where, _), found in pages.items()
            if (kind, where) == (content_type, market)
            for keyword, page in found.items()
            if page["volume"] is not None
        }
        imputed = median(volumes.values()) if volumes else None
    clicks: dict[str, list[float]] = defaultdict(list)
    unweighted: dict[str, list[float]] = defaultdict(list)
    keywords: dict[str, set[str]] = defaultdict(set)
    relevance: dict[str, dict[str, float]] = defaultdict(dict)
    for result in results:
        company = result["company"]
        page = collected[result["keyword"]]
        keywords[company].add(result["keyword"])
        traffic = _traffic(page, result["position"], method, imputed)
        if traffic is not None:
            clicks[company].append(traffic)
        click = _traffic({**page, "volume": 1}, result["position"], method, None)
        if click is not None:
            unweighted[company].append(click)
        if result["relevance"] is not None:
            relevance[company][result["url"]] = result["relevance"]
    # Sums are exact and rounded once, so their order does not matter.
    total = _sum([traffic for own in clicks.values() for traffic in own])
    clicks_total = _sum([click for own in unweighted.values() for click in own])
    for company, ranked in keywords.items():
        if company == "(nobody known)":
            continue  # counts in the total, but is not a company
        analysed = list(relevance[company].values())
        coverage = _rounded(len(ranked) / len(collected))
        share = _rounded(_sum(clicks[company]) / total) if clicks[company] and total else None
        mean = _rounded(_sum(analysed) / len(analysed)) if analysed else None
        dsi = None if share is None or mean is None else _rounded(100 * coverage * share * mean)
        own = unweighted[company]
        alike = _rounded(_sum(own) / clicks_total) if own and clicks_total else None
        counts = (len(ranked), len(collected))
        yield Figure(*place, company, *counts, coverage, share, mean, dsi, alike)


def _traffic(page: Record, position: int, method: Record, imputed: float | None) -> float | None:
    """Clicks per month; None if the volume or the curve gives no value."""
    volume = page["volume"] if page["volume"] is not None else imputed
    curve = method["curve"]
    percent = curve["rest_percent"]
    for last, banded in reversed([*enumerate(curve["percents"], start=1), *curve["tail"]]):
        if position <= last:
            percent = banded
    if volume is None or percent is None:
        return None
    factor = method["ai_overview_factor"] if page["ai_overview"] else 1.0
    return float(volume * (percent / 100) * factor)


def _combined(
    types: list[tuple[float, int, dict[str, Figure]]], market: str, device: str
) -> Iterator[Figure]:
    collected = sum(count for _, count, _ in types)
    total = _sum(weight for weight, _, _ in types)
    for company in {name for _, _, own in types for name in own}:
        own = [(weight, found.get(company)) for weight, _, found in types]
        ranked = sum(figure.keywords_ranked for _, figure in own if figure)
        # A company that does not rank in a collected type scores 0 there; unknown stays unknown.
        parts = [(weight, figure.dsi if figure else 0.0) for weight, figure in own]
        known = [weight * dsi for weight, dsi in parts if dsi is not None]
        dsi = _rounded(_sum(known) / total) if len(known) == len(parts) else None
        counts = (ranked, collected, ranked / collected)
        yield Figure("all", market, device, company, *counts, None, None, dsi, None)


def _place(record: Record) -> Place:
    return record["content_type"], record["market"], record["device"]


def _sum(values: Iterable[float]) -> float:
    return float(sum(map(Fraction, values), Fraction(0)))


def _rounded(value: float) -> float:
    """Round to 12 significant digits, as stored figures are."""
    return float(f"{value:.12g}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:
        # The reader closed the pipe; the interpreter's last flush must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
