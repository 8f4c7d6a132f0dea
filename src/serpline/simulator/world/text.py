"""Texts of pages and videos: about a keyword, with an aim and a tone that vary by address.

``aim`` in [0, 1]: the share of the text about the keyword. ``tone`` in [-1, 1]: its sentiment.
"""

from dataclasses import dataclass
from random import Random

from serpline.simulator.seeds import stream

_ABOUT = (
    "Anyone who looks for {k} soon finds that the offers differ more than their prices suggest.",
    "{B} has followed {k} for several seasons and keeps a record of what travellers report.",
    "The cheapest option for {k} is rarely listed first, and the fees appear only at the end.",
    "Our editors compared {n} providers of {k} over {m} weeks and noted every change of price.",
    "In the comparison of {k}, {r} came close to {B}, while {s} answered questions faster.",
    "Demand for {k} rises about {m} weeks before the holidays and falls again within days.",
    "Readers often ask us whether {k} is worth planning months ahead.",
    "A practical rule for {k}: check the terms first, then the date, and the price last.",
    "Of the {n} people we asked about {k}, most had changed their plan at least once.",
    "Guides to {k} tend to repeat one another, so we went back to the original sources.",
    "The second thing to know about {k} is that availability changes on Tuesdays.",
    "For {k}, the difference between the first and the last offer was {n} percent.",
)
_ELSE = (
    "The office kitchen was renovated last spring and now has a large wooden table.",
    "Our newsletter has a new editor, who collects old maps and printed timetables.",
    "Most of the photographs in this series were taken early in the morning.",
    "The company moved to a building beside the canal, with room for {n} desks.",
    "A short note on the weather: it rained on {m} of the days we worked on this.",
    "The archive of earlier articles can be searched by month and by author.",
    "Several colleagues have asked for a list of the books we mention.",
    "The train back was late, which gave us time to go over our notes again.",
)
_GOOD = (
    "The experience was excellent, and the staff were helpful from start to finish.",
    "We were impressed by the clear terms, and we would recommend it without hesitation.",
    "It is a reliable and pleasant choice that exceeded our expectations.",
    "Refunds arrived quickly, which made this the best service in the test.",
)
_BAD = (
    "The process was disappointing, with hidden fees and slow answers.",
    "Several customers complained about poor service and cancelled bookings.",
    "We cannot recommend it: the worst delays came without any explanation.",
    "The page is confusing, and getting a refund was a frustrating ordeal.",
)
_ANGLES = (
    "what to know before you book",
    "the complete guide",
    "prices, tips and pitfalls",
    "how the offers compare",
    "questions and answers",
    "our test of the year",
)
_NEWS = (
    "{K}: prices move as the season begins",
    "What the new rules mean for {k}",
    "{K} in demand, providers say",
    "{B} looks at {k} after a turbulent week",
    "Report: {k} at the highest level in {m} years",
    "Why {k} is on everyone's mind again",
)
_AUTHORS = ("Maren Holt", "Tomás Rey", "Aiko Sato", "Jude Okafor", "Lena Brandt", "Piotr Zając")


@dataclass(frozen=True, slots=True)
class Article:
    """A text with its headline."""

    headline: str
    author: str
    paragraphs: tuple[str, ...]


def title_of(keyword: str, brand: str, salt: int) -> str:
    """The title of an organic page."""
    return f"{capital(keyword)}: {_ANGLES[salt % len(_ANGLES)]} | {brand}"


def news_title(keyword: str, brand: str, salt: int) -> str:
    """The headline of a news article."""
    return _NEWS[salt % len(_NEWS)].format(K=capital(keyword), k=keyword, B=brand, m=2 + salt % 9)


def capital(text: str) -> str:
    """``text`` with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def snippet_of(keyword: str, brand: str, salt: int) -> str:
    """A snippet of a result page: two sentences, cut to 159 characters."""
    first = _ABOUT[salt % len(_ABOUT)]
    second = _ABOUT[(salt // 16) % len(_ABOUT)]
    return _fill(f"{first} {second}", keyword, brand, brand, brand, salt)[:158] + "…"


def article(
    seed: int, address: str, keyword: str, brand: str, rivals: tuple[str, str], *, headline: str
) -> Article:
    """The text at ``address``: five to eight paragraphs."""
    choices = stream(seed, "article", address)
    aim, tone = choices.betavariate(3.0, 1.2), choices.uniform(-1, 1)
    paragraphs = tuple(
        _paragraph(choices, aim, tone, keyword, brand, rivals) for _ in range(choices.randint(5, 8))
    )
    return Article(headline, choices.choice(_AUTHORS), paragraphs)


def _paragraph(
    choices: Random, aim: float, tone: float, keyword: str, brand: str, rivals: tuple[str, str]
) -> str:
    sentences = []
    for _ in range(4):
        pool = _ABOUT if choices.random() < aim else _ELSE
        sentences.append(choices.choice(pool))
    if choices.random() < abs(tone):
        sentences.append(choices.choice(_GOOD if tone > 0 else _BAD))
    number = choices.getrandbits(32)
    return _fill(" ".join(sentences), keyword, brand, *rivals, number)


def _fill(text: str, keyword: str, brand: str, rival: str, second: str, number: int) -> str:
    # Not str.format: a keyword may contain braces.
    filled = text.replace("{n}", str(12 + number % 78)).replace("{m}", str(2 + number % 9))
    filled = filled.replace("{B}", brand).replace("{r}", rival).replace("{s}", second)
    return filled.replace("{k}", keyword)
