"""Write the keys of runs and schedules into ``docs/configuration.md``, from their models.

``python tools/write_keys.py`` rewrites the tables. A test compares them with the models.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from serpline.config.breaker import RunBreaker, ScheduleBreaker
from serpline.config.lanes import LaneSettings
from serpline.config.model import ConfigModel, allowed
from serpline.config.run import PipelineConfig
from serpline.scheduling.spec import CatchUpWithin, ScheduleSpec

DOCUMENT = Path(__file__).parents[1] / "docs" / "configuration.md"
TABLES: Mapping[str, type[ConfigModel]] = {
    "run": PipelineConfig,
    "run.lanes": LaneSettings,
    "run.circuit_breaker": RunBreaker,
    "schedule": ScheduleSpec,
    "schedule.circuit_breaker": ScheduleBreaker,
    "schedule.catch_up": CatchUpWithin,
}


def rows(model: type[ConfigModel]) -> Iterator[str]:
    """A table row per key: default, allowed values, description."""
    schema = model.model_json_schema()
    yield "| key | default | allowed | what it sets |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        key = field.alias or name
        default = "required" if field.is_required() else ""
        if "default" in (written := schema["properties"][key]):
            default = f"`{json.dumps(written['default'])}`"
        yield f"| `{key}` | {default} | {allowed(field)} | {field.description} |"


def drawn(document: str) -> str:
    """The document with every ``<!-- keys: NAME -->`` block rewritten."""
    for name, model in TABLES.items():
        block = rf"(?<=<!-- keys: {re.escape(name)} -->\n).*?(?=\n<!-- end: {re.escape(name)} -->)"
        table = "\n".join(rows(model))
        document, found = re.subn(block, lambda _, table=table: table, document, flags=re.DOTALL)
        if found != 1:
            raise SystemExit(f"{DOCUMENT.name} has {found} blocks for {name}")
    return document


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{DOCUMENT.name}: {len(TABLES)} tables\n")
