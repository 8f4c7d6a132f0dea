"""``serpline schema``: the JSON Schema of what people configure. It needs no database."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from serpline.cli.common import print_json

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Kind(StrEnum):
    """A document that has a schema."""

    RUN = "run"
    SCHEDULE = "schedule"


def schema(
    kind: Annotated[
        Kind, typer.Argument(help="run: of run start --config. schedule: of a specification.")
    ] = Kind.RUN,
) -> None:
    """Print the keys of a configuration, their bounds and defaults, as JSON Schema."""
    print_json(schema_of(kind))


def schema_of(kind: Kind) -> dict[str, Any]:
    """The JSON Schema of a document."""
    from serpline.config.run import PipelineConfig
    from serpline.scheduling import documents

    found = PipelineConfig.model_json_schema() if kind is Kind.RUN else documents.json_schema()
    return {"$schema": _DIALECT, **found}
