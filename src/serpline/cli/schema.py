"""``serpline schema``: the JSON Schema of configuration files. It needs no database."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from serpline.cli.common import print_json

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Kind(StrEnum):
    """A configuration file that has a schema."""

    RUN = "run"
    SCHEDULE = "schedule"


def schema(
    kind: Annotated[
        Kind,
        typer.Argument(help="run: the file of 'run start --config'; schedule: a specification."),
    ] = Kind.RUN,
) -> None:
    """Print the keys of a configuration file, with bounds and defaults, as JSON Schema."""
    print_json(schema_of(kind))


def schema_of(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""
    from serpline.config.run import PipelineConfig
    from serpline.scheduling import documents

    found = PipelineConfig.model_json_schema() if kind is Kind.RUN else documents.json_schema()
    return {"$schema": _DIALECT, **found}
