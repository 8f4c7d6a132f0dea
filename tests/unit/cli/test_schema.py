"""``serpline schema`` prints what the models accept."""

import json
from typing import Any

import pytest

from serpline import cli
from serpline.cli.schema import Kind, schema_of
from serpline.config.breaker import RunBreaker, ScheduleBreaker
from serpline.config.model import ConfigModel
from serpline.config.run import PipelineConfig
from serpline.domain.errors import UserError
from serpline.scheduling.spec import CatchUpWithin, ScheduleSpec

# The required keys of each model.
LEAST: dict[type[ConfigModel], dict[str, Any]] = {
    PipelineConfig: {},
    RunBreaker: {},
    ScheduleSpec: {"content_types": ["news"], "frequency": "daily"},
    ScheduleBreaker: {},
    CatchUpWithin: {"within": 60},
}
PROPERTIES = [
    pytest.param(model, key, written, id=f"{model.__name__}.{key}")
    for model in LEAST
    for key, written in model.model_json_schema()["properties"].items()
]
NUMBERS = [
    (model, key, option)
    for model, key, written in (each.values for each in PROPERTIES)
    for option in written.get("anyOf", [written])
    if option.get("type") in ("integer", "number") and "enum" not in option
]


def _read(model: type[ConfigModel], key: str, value: Any) -> ConfigModel:
    fitting = {"interval": "interval", "day_of_month": "monthly"}
    timing = {"frequency": fitting[key]} if key in fitting else {}
    return model.from_json({**LEAST[model], **timing, key: value})


@pytest.mark.parametrize(("model", "key", "written"), PROPERTIES)
def test_every_key_is_described_with_its_default(
    model: type[ConfigModel], key: str, written: dict[str, Any]
) -> None:
    """Every key has a description, and giving its default changes nothing."""
    assert written["description"]
    if "default" in written:
        assert _read(model, key, written["default"]) == model.from_json(LEAST[model])


@pytest.mark.parametrize(("model", "key", "bounds"), NUMBERS)
def test_bounds_match_the_reader(
    model: type[ConfigModel], key: str, bounds: dict[str, Any]
) -> None:
    """Both bounds are accepted; values beyond them, booleans and strings are refused."""
    step = 1 if bounds["type"] == "integer" else 1e-6
    above = "exclusiveMinimum" in bounds
    low = bounds["exclusiveMinimum"] if above else bounds["minimum"]
    _read(model, key, low + step if above else low)
    refused = [low if above else low - step, True, str(low)]
    if "maximum" in bounds:
        _read(model, key, bounds["maximum"])
        refused.append(bounds["maximum"] + step)
    for value in refused:
        with pytest.raises(UserError, match=key):
            _read(model, key, value)


def test_numbers_were_found() -> None:
    """Every number has bounds, so the test above is not empty."""
    assert len(NUMBERS) >= 25
    assert {key for _, key, bounds in NUMBERS if "maximum" not in bounds} == set()


@pytest.mark.parametrize("model", LEAST)
def test_other_keys_are_not_allowed(model: type[ConfigModel]) -> None:
    """The schema has the model's keys and no others."""
    written = model.model_json_schema()
    assert written["additionalProperties"] is False
    assert set(written["properties"]) == set(model.keys())


@pytest.mark.parametrize("model", LEAST)
def test_written_documents_have_a_schema(model: type[ConfigModel]) -> None:
    """The serialization schema covers the keys that ``to_json`` writes."""
    written = set(model.model_json_schema(mode="serialization")["properties"])
    assert written >= set(model.from_json(LEAST[model]).to_json())


@pytest.mark.parametrize("kind", Kind)
def test_the_command_prints_the_schema(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON document on standard output, in the current dialect of JSON Schema."""
    assert cli.main(["schema", kind]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == schema_of(kind)
    assert printed["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_schedule_is_one_specification_or_several() -> None:
    """A specification has one of two keys for content types; a list has 1 to 50 of them."""
    schema = schema_of(Kind.SCHEDULE)
    spec = schema["$defs"]["ScheduleSpec"]
    assert [each.get("type", "spec") for each in schema["anyOf"]] == ["spec", "array"]
    assert (schema["anyOf"][1]["minItems"], schema["anyOf"][1]["maxItems"]) == (1, 50)
    assert spec["required"] == ["frequency"]
    assert spec["oneOf"] == [{"required": ["content_type"]}, {"required": ["content_types"]}]
    assert spec["properties"]["content_type"]["enum"] == ["organic", "news", "video"]


def test_an_unknown_document_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the documents that have a schema."""
    assert cli.main(["schema", "market"]) == 2
    assert "'run', 'schedule'" in capsys.readouterr().err
