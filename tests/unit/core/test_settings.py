"""The settings."""

import re
from pathlib import Path

import pytest

from serpline.core.settings import Settings, SettingsError, load

_PAGE = Path(__file__).parents[3] / "docs" / "settings.md"
_ROW = re.compile(
    r"^\| `SERPLINE_(\w+)` \| ([\d,]+) \| (above )?([\d,]+),? to ([\d,]+) \|", re.MULTILINE
)
_ROWS = [
    (name.lower(), *(float(number.replace(",", "")) for number in numbers), bool(above))
    for name, default, above, least, most in _ROW.findall(_PAGE.read_text(encoding="utf-8"))
    for numbers in [(default, least, most)]
]


@pytest.mark.parametrize(
    ("base", "key", "is_set_up"),
    [
        ("https://api.openai.com", "", False),
        ("https://api.openai.com/v1", "", False),
        ("https://api.openai.com/v1", "sk-1", True),
        ("http://localhost:11434", "", True),
    ],
)
def test_whether_there_is_a_model(base: str, key: str, is_set_up: bool) -> None:
    """OpenAI's server needs a key, however its address is written. Others need none."""
    assert load(llm_base_url=base, llm_api_key=key).has_llm is is_set_up


@pytest.mark.parametrize(("name", "default", "least", "most", "above"), _ROWS)
def test_a_setting_matches_its_page(
    name: str, default: float, least: float, most: float, above: bool
) -> None:
    """Its default and both bounds."""
    wide = {"worker_heartbeat_seconds": 1e-9, "worker_dead_after_seconds": 3_600}
    assert getattr(Settings.model_construct(), name) == default
    for value in (most, least + 1e-6 if above else least):
        others = {key: usual for key, usual in wide.items() if key != name}
        assert getattr(load(**{**others, name: type(default)(value)}), name) == value
    for value in (most + 1, least if above else least - 1):
        with pytest.raises(SettingsError, match=f"SERPLINE_{name.upper()}="):
            load(**{name: value})


def test_every_number_among_the_settings_is_on_their_page() -> None:
    """Every setting is documented."""
    numbers = {
        name
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, int | float)
    }
    assert numbers == {row[0] for row in _ROWS}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SERPLINE_CREDIT_PER_DAY", "did you mean SERPLINE_CREDITS_PER_DAY?"),
        ("SERPLINE_SCALESERP_KEY", "did you mean SERPLINE_SCALESERP_API_KEY?"),
        ("serpline_pdl_apikey", "did you mean SERPLINE_PDL_API_KEY?"),
        ("SERPLINE_X", "docs/settings.md lists all settings"),
    ],
)
def test_a_mistyped_variable_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    """It names the nearest setting and never the value, which may be a secret."""
    monkeypatch.setenv(name, "sk-secret")
    with pytest.raises(SettingsError) as refused:
        load()
    assert str(refused.value) == f"{name.upper()} is no setting: {hint}"


def test_variables_of_kubernetes_services_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are there as soon as a service is called serpline. Without its host they are typos."""
    for name in ("SERPLINE_PORT", "SERPLINE_PORT_8077_TCP_ADDR", "SERPLINE_SERVICE_PORT_HTTP"):
        monkeypatch.setenv(name, "tcp://10.0.0.1:8077")
    with pytest.raises(SettingsError, match="SERPLINE_PORT is no setting"):
        load()
    monkeypatch.setenv("SERPLINE_SERVICE_HOST", "10.0.0.1")
    assert load().web_port == 8077
    monkeypatch.setenv("SERPLINE_API_SERVICE_HOST", "10.0.0.2")
    monkeypatch.setenv("SERPLINE_PDL_APIKEY", "x")
    with pytest.raises(SettingsError, match="SERPLINE_PDL_APIKEY is no setting"):
        load()


@pytest.mark.parametrize("name", ["SERPLINE_NOTIFY_URL", "serpline_web_port", "SERPLINES_KEY"])
def test_other_variables_are_read_or_ignored(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A variable of a command, a setting in lower case, and one of another program."""
    monkeypatch.setenv(name, "8077")
    assert load().web_port == 8077
