"""Rankings: a market with a few leaders, and volatility over days.

A slot (position) keeps its URL from one day to the next with probability 1 - hazard. The hazard
grows linearly from 0.027 a day at #1 to 0.33 at #10 and stays there. A slot's holder depends on
the day of its last change, found by walking back, so days can be requested in any order.
"""

from dataclasses import dataclass
from datetime import date
from urllib.parse import quote

from serpline.simulator.seeds import mix, mix_unit, stamp
from serpline.simulator.world.companies import Company, Directory, Kind

HAZARD_FIRST, HAZARD_TENTH = 0.027, 0.33
_WALK_DAYS_MAX = 400
_SCALE = float(1 << 64)
_SECTIONS = ("guides", "compare", "blog", "")
_TAIL_PER_KEYWORD = 60


@dataclass(frozen=True, slots=True)
class Ranked:
    """The holder of a slot. ``salt`` seeds all other choices about it."""

    company: Company
    url: str
    salt: int


def hazard(position: int) -> float:
    """The daily probability that ``position`` (from 1) changes."""
    share = min(position - 1, 9) / 9
    return HAZARD_FIRST + (HAZARD_TENTH - HAZARD_FIRST) * share


def slug_of(keyword: str) -> str:
    """A keyword as a percent-encoded path segment, from which pages read it back.

    Cut to 60 characters, to limit the length of addresses in any script.
    """
    return quote("-".join(keyword.lower().split())[:60], safe="")


class Market:
    """Rankings of one seed."""

    def __init__(self, seed: int, directory: Directory) -> None:
        self._seed = seed
        self._directory = directory

    def organic(
        self, keyword: str, country: str, device: str, day: date, count: int
    ) -> list[Ranked]:
        """The first ``count`` organic results."""
        steady = stamp(self._seed, "organic", keyword.lower(), country)
        moving = steady if device == "desktop" else stamp(steady, device)
        slug = slug_of(keyword)
        taken: set[str] = set()
        owned: dict[int, int] = {}
        results = []
        for position in range(1, count + 1):
            # The top four are the same on all devices; lower positions may differ.
            key = steady if position <= 4 else moving
            draw = self._last_change(key, position, day, hazard(position))
            for probe in range(1_000):
                salt = mix(key, draw, probe)
                company = self._holder(key, position, salt, probe)
                url = organic_url(company, slug, salt)
                if url not in taken and owned.get(company.index, 0) < 2:
                    break
            taken.add(url)
            owned[company.index] = owned.get(company.index, 0) + 1
            results.append(Ranked(company, url, salt))
        return results

    def drawn(
        self, what: str, keyword: str, country: str, day: date, count: int, *, daily: float
    ) -> list[int]:
        """``count`` numbers that change with probability ``daily`` a day, for news and videos."""
        key = stamp(self._seed, what, keyword.lower(), country)
        draws = [self._last_change(key, slot, day, daily) for slot in range(1, count + 1)]
        return [mix(key, draw, slot) for slot, draw in enumerate(draws)]

    def pick(self, kind: Kind, salt: int, *, steepness: float = 1.7) -> Company:
        """A company of a kind. A higher ``steepness`` favours the first ones."""
        pool = self._directory.of(kind)
        return pool[int(len(pool) * (salt / _SCALE) ** steepness)]

    def _holder(self, key: int, position: int, salt: int, probe: int) -> Company:
        tier = mix_unit(salt, 1, position)
        strong, mid = (
            (0.75, 0.95) if position <= 3 else (0.32, 0.70) if position <= 10 else (0, 0.2)
        )
        if probe > 20 or tier >= mid:
            pool = self._directory.of(Kind.TAIL)
            return pool[(key + mix(salt, 2, probe) % _TAIL_PER_KEYWORD) % len(pool)]
        return self.pick(Kind.STRONG if tier < strong else Kind.MID, mix(salt, 3, probe))

    @staticmethod
    def _last_change(key: int, slot: int, day: date, chance: float) -> int:
        ordinal = day.toordinal()
        back = 0
        while back < _WALK_DAYS_MAX and mix_unit(key, slot, ordinal - back) >= chance:
            back += 1
        return mix(key, slot * 7_919, ordinal - back)


def organic_url(company: Company, slug: str, salt: int) -> str:
    """The URL of a company's page about a keyword: mostly on www, sometimes bare or a blog."""
    section = _SECTIONS[(salt >> 3) % len(_SECTIONS)]
    host = f"www.{company.domain}"
    # One host style per company: www and bare domain never have the same page.
    style = company.index % 12
    if style == 5:
        host = company.domain
    elif section == "blog" and style < 4:
        host = f"blog.{company.domain}"
    return f"https://{host}/{section}/{slug}" if section else f"https://{host}/{slug}"
