"""The simulated model: its answers fit any schema, and its scores follow the text."""

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from serpline.simulator.schema_fill import BadSchema, check_strict, fill
from serpline.simulator.scoring import TextScore, score_text
from serpline.simulator.world import World

ABOUT = "Flights to Rome are excellent. We recommend flights to Rome without hesitation. "
ELSE = "The office kitchen was renovated. Our newsletter has a new editor who collects maps. "


class Thing(BaseModel):
    name: str
    kind: Literal["company", "person"]
    share: float = Field(ge=0.2, le=0.4)


class Wanted(BaseModel):
    relevance: float = Field(ge=0, le=1)
    stars: int = Field(ge=1, le=5)
    sentiment: Literal["positive", "neutral", "negative", "mixed"]
    sentiment_score: float = Field(ge=-1, le=1)
    entities: list[Thing] = Field(max_length=3)
    topics: list[str] = Field(min_length=2)
    main: Thing
    owner_domain: str | None
    summary: str = Field(min_length=5, max_length=60)
    is_relevant: bool
    version: Literal["v1"]
    anything: int | str | None


def score(world: World, text: str, keyword: str = "flights to rome") -> TextScore:
    return score_text(["You are a judge.", f"Keyword: {keyword}\n\n{text}"], world.directory)


@pytest.mark.parametrize("text", [ABOUT, ELSE, "", "…", "Flights to Rome at www.acme.example."])
def test_the_answer_fits_the_schema(world: World, text: str) -> None:
    """For any text, a model with ranges, references, unions and constants accepts the answer."""
    value = fill(Wanted.model_json_schema(), score(world, text))
    Wanted.model_validate_json(json.dumps(value), strict=True)


def test_relevance_follows_the_text(world: World) -> None:
    """A text about the keyword is more relevant than one without it."""
    assert score(world, ABOUT).relevance > 0.8
    assert score(world, ELSE).relevance == 0.0
    assert 0 < score(world, ABOUT + ELSE).relevance < score(world, ABOUT).relevance


def test_sentiment_follows_the_text(world: World) -> None:
    """Praise is positive, complaint negative, anything else neutral."""
    assert score(world, ABOUT).sentiment == "positive"
    assert score(world, "A disappointing page with hidden fees.").sentiment == "negative"
    assert score(world, ELSE).sentiment == "neutral"


def test_entities_are_companies_of_the_market(world: World) -> None:
    """The market's names are found in order, each once."""
    first, second = (company.name for company in world.directory.all[:2])
    text = f"We compared {second} with {first}. In the end {second} was better than Nobody."
    assert score(world, text).entities == (second, first)


def test_a_prompt_may_be_json(world: World) -> None:
    """Keyword and text are also found in a JSON message, in any script."""
    prompt = json.dumps({"keyword": "三川河", "text": "三川河在这里流过城市的中心地带。"})
    assert score_text(["system", prompt], world.directory).relevance == 1.0


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "array", "items": {}}, "must be of type 'object'"),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
            "additionalProperties",
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": [],
                "additionalProperties": False,
            },
            "required",
        ),
    ],
)
def test_strict_mode_refuses_loose_schemas(schema: dict[str, Any], message: str) -> None:
    """Schemas that the real API refuses in strict mode are refused with a reason."""
    with pytest.raises(BadSchema, match=message):
        check_strict(schema, "x")


def test_an_endless_schema_is_refused(world: World) -> None:
    """A schema with endless references is refused, without a hang."""
    loop = {
        "type": "object",
        "properties": {"a": {"$ref": "#"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    with pytest.raises(BadSchema, match="deep"):
        fill(loop, score(world, ABOUT))
