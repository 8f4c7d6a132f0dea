"""Count the model calls that each key of a judgement would cost: the model of ADR 0011.

Keywords come in groups of near-synonyms, and the pages of a group rank for several of them. A
page's score is the sum of its own, one for the keyword and one for the day. The ten best rank.
"""

import random
import sys
from collections.abc import Iterable

GROUPS, PAGES, RANKS = 100, 25, 10
KEYWORD_SPREAD, DAY_SPREAD = 0.6, 0.12
FRESH_DAYS = 30

Page = tuple[int, int]


def ranked(keyword: int, day: int) -> list[Page]:
    """The pages that rank for a keyword on a day."""
    group = keyword % GROUPS
    scores = []
    for page in range(PAGES):
        score = _noise(group, page) + KEYWORD_SPREAD * _noise(group, keyword, page)
        scores.append((score + DAY_SPREAD * _noise(group, keyword, page, day), (group, page)))
    return [page for _, page in sorted(scores, reverse=True)[:RANKS]]


def _noise(*parts: int) -> float:
    return random.Random(repr(parts)).gauss(0, 1)  # noqa: S311  a model, no secret


class Judgements:
    """The judgements under each key, and the days of their purchase."""

    def __init__(self) -> None:
        self.judged: dict[str, dict[object, int]] = {
            name: {} for name in ("URL", "list", "set", "description", "keyword")
        }

    def run(self, keywords: Iterable[int], day: int, landscape: str) -> dict[str, int]:
        """The calls of one run, for each key of judgements."""
        words = frozenset(keywords)
        of_page: dict[Page, set[int]] = {}
        for keyword in words:
            for page in ranked(keyword, day):
                of_page.setdefault(page, set()).add(keyword)
        calls = dict.fromkeys(self.judged, 0)
        for page, found in of_page.items():
            keys: dict[str, list[object]] = {
                "URL": [page],
                "list": [(page, frozenset(found))],
                "set": [(page, words)],
                "description": [(page, landscape)],
                "keyword": [(page, keyword) for keyword in found],
            }
            for name, needed in keys.items():
                judged = self.judged[name]
                if any(day - judged.get(key, -FRESH_DAYS) >= FRESH_DAYS for key in needed):
                    calls[name] += 1
                    judged.update(dict.fromkeys(needed, day))
        return {"pages": len(of_page), **calls}


def main() -> None:
    """Print the calls of single runs and of a month."""
    today, tomorrow = ([set(ranked(k, day)) for k in range(500)] for day in (0, 1))
    new = sum(len(b - a) for a, b in zip(today, tomorrow, strict=True)) / (500 * RANKS)
    _print(f"new results a day: {new:.1%}")
    kept = Judgements()
    _print("TESTING", kept.run(range(5), 0, "a"))
    _print("the 500", kept.run(range(500), 0, "a"))
    _print("the same again", kept.run(range(500), 0, "a"))
    _print("one keyword more", kept.run(range(501), 0, "a"))
    _print("the next day", kept.run(range(501), 1, "a"))
    _print("another landscape, half shared", kept.run(range(250, 750), 1, "b"))
    _print("a month", _sum(kept.run(range(501), day, "a") for day in range(2, 32)))
    growing = Judgements()
    growing.run(range(500), 0, "a")
    runs = (growing.run(range(500 + day), day, "a") for day in range(1, 31))
    _print("a month with a keyword more each day", _sum(runs))


def _sum(runs: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for calls in runs:
        for name, count in calls.items():
            total[name] = total.get(name, 0) + count
    return total


def _print(*parts: object) -> None:
    sys.stdout.write(" ".join(map(str, parts)) + "\n")


if __name__ == "__main__":
    main()
