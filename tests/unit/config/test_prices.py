"""The file of prices."""

from pathlib import Path

import pytest

from serpline.config.prices import BUILT_IN, MODELS, UNITS, Prices, built_in, read_prices
from serpline.domain.errors import UserError
from serpline.domain.names import PROVIDERS


def test_every_provider_has_a_price_and_a_unit() -> None:
    """The ledger's providers, and no others."""
    assert set(Prices.model_fields) == set(UNITS) == set(PROVIDERS)


def test_the_file_replaces_the_prices_that_it_names(tmp_path: Path) -> None:
    """A number is US$ a unit; an object may be for many units; null is not known."""
    file = tmp_path / "prices.yaml"
    file.write_text(
        "scaleserp: 0.0012\nllm: {usd: 0.3, per: 1000000, source: our contract}\ndataforseo: null\n"
    )
    found = read_prices(file)
    assert found.usd("scaleserp", 1_000) == 1.2
    assert found.usd("llm", 2_000_000) == 0.6
    assert found.usd("dataforseo", 1) is None
    assert found.usd("pdl", 1) is None
    assert found.usd("wikidata", 9) == 0


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    """Neither does one of comments."""
    file = tmp_path / "prices.yaml"
    file.write_text("# nothing yet\n")
    assert read_prices(file) == BUILT_IN


def test_a_known_model_has_a_price() -> None:
    """Another model, or another server, has none."""
    assert built_in("gpt-4o-mini").llm == MODELS["gpt-4o-mini"]
    assert built_in("gpt-9").usd("llm", 1) is built_in(None).usd("llm", 1) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("scaleserb: 1", "unknown key 'scaleserb'=1: did you mean scaleserp?"),
        ("pdl: {usd: 1, pro: 2}", "unknown key 'pdl.pro'=2: did you mean per?"),
        ("pdl: {per: 2}", "pdl.usd is missing"),
        ("pdl: -1", "pdl.usd=-1: must be a number, 0 or more"),
        ("pdl: {usd: 1, per: 0}", "pdl.per=0: must be a number, above 0"),
        ("pdl: free", "pdl='free': must be"),
        ("- 1", "must be an object"),
        ("pdl: 1\npdl: 2", "the key is given twice"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    """It names the file, the key, the value and what is allowed."""
    file = tmp_path / "prices.yaml"
    file.write_text(content)
    with pytest.raises(UserError) as refused:
        read_prices(file)
    assert str(refused.value).startswith(str(file))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """SERPLINE_PRICES may be mistyped."""
    with pytest.raises(UserError, match=r"gone\.yaml: No such file"):
        read_prices(tmp_path / "gone.yaml")
