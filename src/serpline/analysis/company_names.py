"""The name of a company as people know its brand: "apple inc." is shown as "Apple".

Three rules:

1. Legal forms at the end are left out: "Siemens AG" → "Siemens", "Telefónica, S.A." → "Telefónica",
   "Robert Bosch GmbH & Co. KG" → "Robert Bosch", "株式会社メルカリ" → "メルカリ". "Company" and
   "& Co." stay, because brands end so: "Ford Motor Company", "Tiffany & Co.". A name that is only a
   legal form stays: "SAS".
2. A name without a capital letter gets them. PDL's ``name`` is in lower case ("people data labs",
   with "People Data Labs" as ``display_name``: docs.peopledatalabs.com, "Example Company Record").
   Small words inside a name stay small ("Bank of America"). A word of up to four consonants is an
   abbreviation ("BMW"). A domain keeps its end ("Booking.com").
3. Any other spelling stays as the source wrote it: "IKEA", "eBay", "adidas AG" → "adidas".

Limits: "ibm" has a vowel and becomes "Ibm"; "eni spa" keeps its form. ``serpline companies rename``
sets any name. The forms are the common ones of the Entity Legal Forms code list (ISO 20275,
gleif.org). The library ``cleanco`` was tried: it also removes "Company", and short words such as
"nl" and "et".
"""

import re
from functools import cache

_FORMS = """
inc; incorporated; corp; corporation; llc; l l c; llp; lp; ltd; limited; plc; pllc; pbc; co ltd;
co limited; co inc; co llc; pty ltd; pty limited; pte ltd; pvt ltd; private limited; sdn bhd; bhd;
a/s; gmbh; ggmbh; gmbh & co kg; gmbh & co kgaa; ag & co kg; ag & co kgaa; se & co kg; se & co kgaa;
& co kg; ag; kg; kgaa; ohg; ug; se; mbh;
sa; s a; sas; sasu; sarl; eurl; snc; sca; sl; slu; sau; s p a; srl; srls; ltda; lda; eireli; s/a;
sa de cv; sab de cv; s a de c v; s de rl de cv; nv; n v; bv; b v; bvba; ab; ab publ; publ;
aktiebolag; as; asa; aps; oy; oyj; oy ab; oyj abp; ehf; hf; sp z oo; sp z o o; spolka z oo; sro;
s r o; doo; dd; ood; eood; kft; zrt; nyrt; uab; sia; ooo; oao; pao; zao; pjsc; jsc; kk; ltd sti;
sae; sal; fze; fzco; dmcc; tbk
"""
_EAST_ASIAN = "株式会社|有限会社|合同会社|股份有限公司|有限公司|주식회사|유한회사"
_EAST_ASIAN_FORM = re.compile(rf"^(?:{_EAST_ASIAN})\s*|\s*(?:{_EAST_ASIAN})$")
_SMALL_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "at",
        "by",
        "de",
        "del",
        "der",
        "des",
        "di",
        "du",
        "e",
        "et",
        "for",
        "in",
        "la",
        "of",
        "on",
        "or",
        "the",
        "und",
        "y",
    ]
)
# A legal form follows a name. After one of these the word is part of it: "The Limited",
# "Flor de Sal", "Tiffany & Co. Ltd".
_JOINING = _SMALL_WORDS | {"&", "+", "da", "do", "el", "las", "le", "los"}
# "Woodhouse Day Spa" is no S.p.A.
_SPAS = frozenset(["spa", "Spa"])
_ABBREVIATION = re.compile("[bcdfghjklmnpqrstvwxz&]{2,4}")
_TITLES = frozenset(["dr", "jr", "mr", "mrs", "ms", "mt", "sr", "st"])
# The start of a word, or of a part of it: "rolls-royce", "(uk)", "l'oréal", not "levi's".
_FIRST_LETTER = re.compile(r"(?:^|(?<=[-/(&+])|(?<=\b[ld]['’]))[^\W\d_]")
_WORDS_MAX = 5
_SEPARATORS = " ,;–-"


def display_name(name: str | None) -> str | None:
    """Return the brand's name; None stays None."""
    if name is None:
        return None
    given = " ".join(name.split()).strip(_SEPARATORS)
    bare = _without_legal_form(given)
    return (_capitalised(bare) if given == given.lower() else bare) or name


def _without_legal_form(given: str) -> str:
    words = (_EAST_ASIAN_FORM.sub("", given) or given).split()
    plain = list(map(_plain, words))
    count = len(words)
    while size := _size_of_form(plain[:count]):
        count -= size
    return " ".join(words[:count]).rstrip(_SEPARATORS)


def _plain(word: str) -> str:
    """A word as forms are written above. The form S.p.A. is three letters there."""
    plain = re.sub(r"[.,()ş]", lambda m: "s" * (m[0] == "ş"), word.casefold())
    return "s p a" if plain == "spa" and word.strip(",()") not in _SPAS else plain


def _size_of_form(words: list[str]) -> int:
    """Return how many words at the end are a legal form; one word is left in any case."""
    sizes = range(min(_WORDS_MAX, len(words) - 1), 0, -1)
    forms = (size for size in sizes if " ".join(words[-size:]) in _forms())
    return next((size for size in forms if words[-size - 1] not in _JOINING), 0)


@cache
def _forms() -> frozenset[str]:
    return frozenset(" ".join(form.split()) for form in _FORMS.split(";"))


def _capitalised(name: str) -> str:
    return " ".join(
        word if place and word in _SMALL_WORDS else _capital(word)
        for place, word in enumerate(name.split())
    )


def _capital(word: str) -> str:
    if _ABBREVIATION.fullmatch(word) and word not in _TITLES:
        return word.upper()
    return _FIRST_LETTER.sub(lambda match: match[0].upper(), word)
