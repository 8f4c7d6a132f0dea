"""Names of brands, countries and industries, from the texts that sources write."""

import csv
from importlib import resources

import pytest

from serpline.analysis.company_names import display_name
from serpline.analysis.countries import country_code
from serpline.analysis.industries import Industry, industry_of
from serpline.domain.markets import builtin_markets
from serpline.simulator.world.companies import COUNTRIES, INDUSTRIES


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("apple inc.", "Apple"),
        ("Siemens AG", "Siemens"),
        ("Robert Bosch GmbH & Co. KG", "Robert Bosch"),
        ("Telefónica, S.A.", "Telefónica"),
        ("Grupo Bimbo, S.A.B. de C.V.", "Grupo Bimbo"),
        ("A.P. Møller - Mærsk A/S", "A.P. Møller - Mærsk"),
        ("Türk Hava Yolları A.Ş.", "Türk Hava Yolları"),
        ("H&M Hennes & Mauritz AB (publ)", "H&M Hennes & Mauritz"),
        ("samsung electronics co., ltd.", "Samsung Electronics"),
        ("株式会社メルカリ", "メルカリ"),
        ("booking.com b.v.", "Booking.com"),
        ("people data labs", "People Data Labs"),
        ("bank of america corporation", "Bank of America"),
        ("bmw ag", "BMW"),
        ("rolls-royce holdings plc", "Rolls-Royce Holdings"),
        ("l'oréal", "L'Oréal"),
        ("levi's", "Levi's"),
        ("Ford Motor Company", "Ford Motor Company"),
        ("Tiffany & Co.", "Tiffany & Co."),
        ("adidas AG", "adidas"),
        ("eBay Inc.", "eBay"),
        ("IKEA", "IKEA"),
        ("AB Volvo", "AB Volvo"),
        ("SAS", "SAS"),
        ("Smith & Co. Ltd", "Smith & Co."),
        ("The Limited", "The Limited"),
        ("the limited, inc.", "The Limited"),
        ("Flor de Sal", "Flor de Sal"),
        ("Massage and Spa", "Massage and Spa"),
        ("hand & stone massage & spa", "Hand & Stone Massage & Spa"),
        ("Woodhouse Day Spa", "Woodhouse Day Spa"),
        ("ENI S.p.A.", "ENI"),
        ("Ferrero SpA", "Ferrero"),
        ("dr pepper", "Dr Pepper"),
        ("st james's place plc", "St James's Place"),
        ("mr price group", "Mr Price Group"),
        ("rtl group", "RTL Group"),
        ("S.A.", "S.A."),
        (" , ", " , "),
        (None, None),
    ],
)
def test_a_brand_is_shown_without_its_legal_form(written: str | None, shown: str | None) -> None:
    """Legal forms are left out, lower-case names get capitals, other spellings stay."""
    assert display_name(written) == shown


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("united states", "US"),
        ("United States of America", "US"),
        ("South Korea", "KR"),
        ("Korea, Republic of", "KR"),
        ("People's Republic of China", "CN"),
        ("Kingdom of the Netherlands", "NL"),
        ("côte d’ivoire", "CI"),
        ("turkey", "TR"),
        ("The Bahamas", "BS"),
        ("st. lucia", "LC"),
        ("bosnia & herzegovina", "BA"),
        ("DE", "DE"),
        ("Deutschland", None),
        ("", None),
        (None, None),
    ],
)
def test_a_country_is_named_by_its_iso_code(written: str | None, code: str | None) -> None:
    """Sources' English names of a country are one code; an unknown name has none."""
    assert country_code(written) == code


def test_every_built_in_market_is_found_by_its_name() -> None:
    """No name of a built-in market belongs to two countries."""
    assert {country_code(market.name) for market in builtin_markets().values()} == set(
        builtin_markets()
    )


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("leisure, travel & tourism", 30),  # PDL's industry: a name of V1
        ("travel arrangements", 30),  # PDL's industry_v2: a name of V2
        ("airlines/aviation", 94),
        ("internet", 6),
        ("non-profit organization management", 100),  # PDL's V1 and V2, and without a hyphen
        ("nonprofit organization management", 100),
        ("non-profit organizations", 100),
        ("software industry", 4),  # Wikidata's labels
        ("automotive industry", 53),
        ("e-commerce", 1445),
        ("Retail", 27),
        ("hat making", None),
        (None, None),
    ],
)
def test_sources_name_an_industry_in_different_words(written: str | None, code: int | None) -> None:
    """Names of both versions of LinkedIn's codes and Wikidata's labels are one industry."""
    found = industry_of(written)
    assert (found and found.code) == code


def test_an_industry_has_the_group_at_the_top_of_its_tree() -> None:
    """The group is one of twenty, and an industry of its own."""
    assert industry_of("computer software") == Industry(
        4, "Software Development", "Technology, Information and Media"
    )
    file = resources.files("serpline.analysis").joinpath("data", "industries.csv")
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    groups = {row["group"] for row in rows}
    assert (len(rows), len(groups)) == (434, 20)
    assert groups <= {row["name"] for row in rows}


def test_the_simulated_companies_fit_the_standards() -> None:
    """Every country and industry of the simulator is known."""
    assert [country_code(name) for name, *_ in COUNTRIES] == [code for _, code, *_ in COUNTRIES]
    assert all(industry_of(name) for name in INDUSTRIES)
