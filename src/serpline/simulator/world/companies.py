"""The companies of the market: strong, mid, tail, publishers and creators.

Every host lives under the reserved top-level domain ``.example``, which never resolves.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from serpline.simulator.seeds import stream, unit


def words(text: str) -> tuple[str, ...]:
    """Split a text into words."""
    return tuple(text.split())


_FIRST = words(
    "Sky Nord Vela Terra Luma Aero Blue Coral Delta Ember Fjord Globe Halo Isla Juno Kite Lark "
    "Mira Nova Onda Polar Quill Ridge Sola Tidal Urban Vista Wander Zephyr Amber Birch Cedar Dune "
    "Echo Flint Grove Harbor Indigo Jade Koru Lotus Maple Nimbus Opal Pine Quartz River Stella "
    "Tundra Umbra Vale Willow Xeno Yonder Zenith Alto Brio Civic Dart Evora"
)
_SECOND = words(
    "fare trip way port line nest path gate mark field works desk hub loop cast wise link board "
    "craft point house stay jet rail cove peak shore crest spark forge ward lane bridge mill yard "
    "grid core leaf stone bay"
)
_CITIES = words(
    "Ashford Brixley Carden Dunmore Eastvale Farrow Glenrock Hartwell Ironbridge Kelso Langdon "
    "Marlow Northgate Oakham Penrith Quarry Redcliff Stanton Thornbury Upton Westmere Yarrow"
)
_PAPERS = words("Herald Courier Gazette Ledger Observer Chronicle Tribune Dispatch")
_FORENAMES = words("Ada Ben Chloe Dev Elif Finn Grace Hana Ivo Jonas Kira Leo Mina Noor Omar Pia")

INDUSTRIES = (
    "leisure, travel & tourism",
    "airlines/aviation",
    "internet",
    "hospitality",
    "publishing",
    "online media",
    "retail",
    "consumer services",
)
SIZES = ("1-10", "11-50", "51-200", "201-500", "501-1000", "1001-5000", "5001-10000", "10001+")
COUNTRIES = (
    ("united states", "US", "north america", "new york", "New York"),
    ("united kingdom", "GB", "europe", "london", "Greater London"),
    ("germany", "DE", "europe", "berlin", "Berlin"),
    ("france", "FR", "europe", "paris", "Île-de-France"),
    ("poland", "PL", "europe", "warsaw", "Masovia"),
    ("japan", "JP", "asia", "tokyo", "Tokyo"),
)

STRONG, MID, TAIL, PUBLISHERS, CREATORS = 10, 60, 1_200, 120, 80


class Kind(StrEnum):
    """The role of a company in the market."""

    STRONG = "strong"
    MID = "mid"
    TAIL = "tail"
    PUBLISHER = "publisher"
    CREATOR = "creator"


class Known(StrEnum):
    """The directory that knows the company."""

    COMMERCIAL = "commercial"
    FREE = "free"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Company:
    """A company. ``index``: its position in the directory; ``domain``: its registrable domain."""

    index: int
    name: str
    domain: str
    kind: Kind
    known: Known
    industry: str
    size: str
    employees: int
    founded: int
    country: tuple[str, str, str, str, str]

    @property
    def site(self) -> str:
        """The URL of its home page."""
        return f"https://www.{self.domain}"


class Directory:
    """Every company of a seed, in a fixed order: strong, mid, tail, publishers, creators."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @cached_property
    def all(self) -> tuple[Company, ...]:
        """All companies."""
        choices = stream(self._seed, "directory")
        brands = [first + second for first in _FIRST for second in _SECOND]
        papers = [f"The {city} {paper}" for city in _CITIES for paper in _PAPERS]
        people = [f"{name} {place}" for name in _FORENAMES for place in _CITIES]
        for names in (brands, papers, people):
            choices.shuffle(names)
        plan = [
            *((name, Kind.STRONG) for name in brands[:STRONG]),
            *((name, Kind.MID) for name in brands[STRONG : STRONG + MID]),
            *((name, Kind.TAIL) for name in brands[STRONG + MID : STRONG + MID + TAIL]),
            *((name, Kind.PUBLISHER) for name in papers[:PUBLISHERS]),
            *((name, Kind.CREATOR) for name in people[:CREATORS]),
        ]
        return tuple(self._company(index, name, kind) for index, (name, kind) in enumerate(plan))

    @cached_property
    def by_domain(self) -> dict[str, Company]:
        """Registrable domain → company."""
        return {company.domain: company for company in self.all}

    @cached_property
    def by_name(self) -> dict[str, Company]:
        """Name → company."""
        return {company.name: company for company in self.all}

    def of(self, kind: Kind) -> tuple[Company, ...]:
        """The companies of a kind, the strongest first."""
        return self._kinds[kind]

    @cached_property
    def _kinds(self) -> dict[Kind, tuple[Company, ...]]:
        return {kind: tuple(c for c in self.all if c.kind is kind) for kind in Kind}

    def of_host(self, host: str) -> Company | None:
        """The company of a host name with any prefix, such as ``www.``."""
        labels = host.lower().rstrip(".").split(".")
        return self.by_domain.get(".".join(labels[-2:]))

    def _company(self, index: int, name: str, kind: Kind) -> Company:
        choices = stream(self._seed, "company", name)
        weight = {Kind.STRONG: 6, Kind.MID: 4, Kind.PUBLISHER: 3}.get(kind, 1)
        size = min(len(SIZES) - 1, max(0, weight + choices.randint(-1, 1)))
        low = int(SIZES[size].split("-")[0].rstrip("+"))
        slug = "".join(part for part in name.lower() if part.isalnum())
        return Company(
            index=index,
            name=name,
            domain=f"{slug}.example",
            kind=kind,
            known=_known(kind, unit(self._seed, "known", name)),
            industry="publishing" if kind is Kind.PUBLISHER else choices.choice(INDUSTRIES),
            size=SIZES[size],
            employees=low + choices.randint(0, low),
            founded=choices.randint(1948, 2022),
            country=COUNTRIES[0] if choices.random() < 0.5 else choices.choice(COUNTRIES),
        )


def _known(kind: Kind, draw: float) -> Known:
    """The commercial directory knows all strong companies; no directory knows many of the tail."""
    if kind is Kind.STRONG:
        return Known.COMMERCIAL
    commercial, free = (0.45, 0.60) if kind is Kind.CREATOR else (0.72, 0.85)
    if draw < commercial:
        return Known.COMMERCIAL
    return Known.FREE if draw < free else Known.NOWHERE
