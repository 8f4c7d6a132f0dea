"""Build a value that fits a JSON schema, with a text's scores where property names allow it."""

import re
from typing import Any

from serpline.simulator.scoring import TextScore

DEPTH_MAX = 12
_SCORES = re.compile(r"relevan|score|confidence|probab|quality|match")
_SENTIMENTS = re.compile(r"sentiment|tone|mood|polarity")
_NAMES = re.compile(r"entit|brand|compan|organi|mention|competitor|owner|publisher|name")
_TOPICS = re.compile(r"topic|keyword|tag|theme|categor")
_SITES = re.compile(r"domain|website|url|site|host|homepage")
_BOOLEANS = re.compile(r"relevant|^is_|^has_|mentions")


class BadSchema(ValueError):  # noqa: N818  answered with a 400
    """A schema that the API refuses."""


def check_strict(schema: dict[str, Any], name: str) -> None:
    """Check strict mode: all properties required, no others allowed. Raises ``BadSchema``."""
    if schema.get("type") != "object":
        raise BadSchema(f"Invalid schema for response_format '{name}': must be of type 'object'.")
    _check(schema, name, 0)


def _check(node: Any, name: str, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise BadSchema(f"Invalid schema for response_format '{name}': nested too deeply.")
    if isinstance(node, list):
        for each in node:
            _check(each, name, depth)
        return
    if not isinstance(node, dict):
        return
    if "properties" in node:
        if node.get("additionalProperties") is not False:
            raise BadSchema(
                f"Invalid schema for response_format '{name}': "
                "'additionalProperties' is required to be supplied and to be false."
            )
        if set(node.get("required", [])) != set(node["properties"]):
            raise BadSchema(
                f"Invalid schema for response_format '{name}': 'required' is required to be "
                "supplied and to be an array including every key in properties."
            )
        for each in node["properties"].values():
            _check(each, name, depth + 1)
    for key in ("items", "anyOf", "$defs"):
        inner = node.get(key)
        if key == "$defs" and isinstance(inner, dict):
            inner = list(inner.values())
        _check(inner, name, depth + 1)


def fill(schema: dict[str, Any], score: TextScore) -> Any:
    """Build a value that fits ``schema``. Raises ``BadSchema`` for an unusable schema."""
    return _value(schema, schema, "", score, 0)


def _value(node: Any, root: dict[str, Any], name: str, score: TextScore, depth: int) -> Any:
    if depth > DEPTH_MAX or not isinstance(node, dict):
        raise BadSchema("the schema is nested too deeply or is no object")
    if "$ref" in node:
        return _value(_resolve(root, str(node["$ref"])), root, name, score, depth + 1)
    if "const" in node:
        return node["const"]
    if "enum" in node:
        return _choice(node["enum"], name, score)
    options = node.get("anyOf") or node.get("oneOf") or []
    kinds = node.get("type")
    if isinstance(kinds, list):
        options = [{**node, "type": kind} for kind in kinds]
    if options:
        return _option(options, root, name, score, depth)
    kind = kinds or ("object" if "properties" in node else "string")
    if kind == "object":
        properties = node.get("properties", {})
        if _SCORES.search(name.lower()) and properties.keys() == score.relevances.keys():
            return dict(score.relevances)
        return {
            key: _value(inner, root, key, score, depth + 1) for key, inner in properties.items()
        }
    if kind == "array":
        return _array(node, root, name, score, depth)
    if kind in ("number", "integer"):
        return _number(node, name.lower(), score, whole=kind == "integer")
    if kind == "boolean":
        return score.relevance >= 0.5 if _BOOLEANS.search(name.lower()) else False
    if kind == "null":
        return None
    return _string(node, name.lower(), score)


def _resolve(root: dict[str, Any], reference: str) -> Any:
    node: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict):
        raise BadSchema(f"the reference '{reference}' does not resolve")
    return node


def _option(
    options: list[Any], root: dict[str, Any], name: str, score: TextScore, depth: int
) -> Any:
    """The first option that is not null; null if its value would be empty."""
    rest = [each for each in options if isinstance(each, dict) and each.get("type") != "null"]
    nullable = len(rest) < len(options)
    value = _value(rest[0], root, name, score, depth + 1) if rest else None
    return None if nullable and value in ("", [], {}) else value


def _choice(options: list[Any], name: str, score: TextScore) -> Any:
    texts = [str(option).lower() for option in options]
    if score.sentiment in texts:
        return options[texts.index(score.sentiment)]
    if "content" in texts:
        return options[texts.index(score.page_state if score.page_state in texts else "content")]
    for company_word in ("company", "organization", "organisation", "brand"):
        # The entities are companies.
        if company_word in texts:
            return options[texts.index(company_word)]
    # Ordered scales (low, medium, high): choose by sentiment or relevance.
    share = (score.sentiment_score + 1) / 2 if _SENTIMENTS.search(name.lower()) else score.relevance
    return options[min(len(options) - 1, int(share * len(options)))]


def _array(
    node: dict[str, Any], root: dict[str, Any], name: str, score: TextScore, depth: int
) -> list[Any]:
    items = node.get("items", {"type": "string"})
    low, high = int(node.get("minItems", 0)), int(node.get("maxItems", 10))
    lowered = name.lower()
    if _TOPICS.search(lowered):
        words = list(score.topics)
    elif _NAMES.search(lowered):
        words = list(score.entities)
    elif _SITES.search(lowered):
        words = [score.domain] if score.domain else []
    else:
        words = [score.summary] if low else []
    words = (words + ["general"] * low)[: max(low, min(high, len(words)))]
    return [_named(items, root, word, score, depth + 1) for word in words]


def _named(node: Any, root: dict[str, Any], word: str, score: TextScore, depth: int) -> Any:
    """An element of a list of names: the name, or an object with it."""
    while isinstance(node, dict) and "$ref" in node:
        node = _resolve(root, str(node["$ref"]))
    if isinstance(node, dict) and node.get("type") == "string" and "enum" not in node:
        return word[: int(node.get("maxLength", len(word)))]
    value = _value(node, root, "", score, depth)
    if isinstance(value, dict):
        for key in ("name", "text", "entity", "label", "topic", "brand", "company"):
            if isinstance(value.get(key), str):
                value[key] = word
                break
    return value


def _number(node: dict[str, Any], name: str, score: TextScore, *, whole: bool) -> float | int:
    is_sentiment = bool(_SENTIMENTS.search(name))
    low = float(node.get("minimum", node.get("exclusiveMinimum", -1 if is_sentiment else 0)))
    high = max(low, float(node.get("maximum", node.get("exclusiveMaximum", 1))))
    share = (
        (score.sentiment_score + 1) / 2
        if is_sentiment
        else score.relevance
        if _SCORES.search(name)
        else 0.5
    )
    value = low + (high - low) * share
    if "exclusiveMinimum" in node or "exclusiveMaximum" in node:
        value = low + (high - low) * (0.01 + 0.98 * share)
    return round(value) if whole else round(value, 4)


def _string(node: dict[str, Any], name: str, score: TextScore) -> str:
    if _SENTIMENTS.search(name):
        text = score.sentiment
    elif _SITES.search(name):
        text = score.domain
    elif _NAMES.search(name):
        text = score.entities[0] if score.entities else ""
    elif "lang" in name:
        text = "en"
    elif _TOPICS.search(name):
        text = score.topics[0] if score.topics else "general"
    else:
        text = score.summary
    text = text.ljust(int(node.get("minLength", 0)), ".")
    return text[: int(node.get("maxLength", len(text)))]
