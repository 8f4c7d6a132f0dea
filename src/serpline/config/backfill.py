"""What the run of a backfill stands for, and the result sets that a run takes."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from serpline.config.model import ConfigModel
from serpline.config.values import AwareTime, Must, Name, Switch, one_of, whole
from serpline.domain.schedules import BackfillKind


class RunBackfill(ConfigModel):
    """A run that stands for a past slot of a schedule. The service that starts it fills it in."""

    kind: Annotated[BackfillKind, one_of(tuple(BackfillKind))] = Field(
        description="refetch: result sets that the provider still holds; late: new searches;"
        " recompute: stored replies, without a call."
    )
    id: Name | None = Field(None, description="The backfill.")
    run_id: Annotated[UUID, Must("the id of a run")] | None = Field(
        None,
        description="The slot's earlier run, which this run replaces: its keywords are used, and"
        " trends show this run in its place.",
    )
    is_late: Switch = Field(
        False, description="The replaced run was a late snapshot; read from it."
    )
    started_at: AwareTime | None = Field(
        None, description="When the replaced run was created; read from it."
    )
    ended_at: AwareTime | None = Field(
        None, description="When the replaced run ended; read from it."
    )


class GivenResultSet(ConfigModel):
    """A result set of a provider's batch."""

    batch_id: Name = Field(description="The batch's id at the provider.")
    result_set_id: Annotated[int, whole(0, 2**62)] | None = Field(
        None, description="The result set; not given: the newest, once the batch is idle."
    )
    scheduled_for: AwareTime | None = Field(
        None, description="The slot whose result set it is, if the provider starts the batch."
    )
