"""Row 22: each subset of the five providers beside the searches is unset, and fails.

Unset: the provider's settings are empty. Failing: it refuses the key (401). In one more run all
five are down (500) until the lanes' deadline. What a run still knows must equal what a run with
every provider knows.
"""

import asyncio
from collections.abc import Sequence

from harness.figures import Figure, at_least, zero

from chaos.scorecard import Context, Row
from chaos.standard_run import two_at_a_time
from chaos.subsets import OTHERS, SUBSETS, Outcome, run_without
from serpline.domain.phase_inputs import PHASE_INPUTS, Component

_SHORT = (frozenset(OTHERS),)
# A language model names the owners of channels without a website.
_FIND_OWNERS = frozenset({"pdl", "wikidata", "youtube", "llm"})
_DEADLINE_HOURS = 10 / 3600
_COLUMNS = {"traffic_share": Component.VOLUMES, "relevance": Component.RELEVANCE}


async def campaign(context: Context) -> Sequence[Figure]:
    """Run every subset both ways, two runs at a time."""
    subsets = context.sized(_SHORT, SUBSETS)
    unset, failing = await asyncio.gather(
        two_at_a_time(
            run_without(context, f"unset-{number}", each) for number, each in enumerate(subsets)
        ),
        two_at_a_time(
            run_without(context, f"failing-{number}", each, "401")
            for number, each in enumerate(subsets)
            if each
        ),
    )
    if context.full:
        failing.append(
            await run_without(context, "down", OTHERS, "500", lane_deadline_hours=_DEADLINE_HOURS)
        )
    whole = min(unset, key=lambda each: len(each.missing))
    runs = [*unset, *failing]
    return [
        at_least("runs", len(runs), context.sized(2, 2 * len(SUBSETS))),
        zero("unset: not completed", sum(each.status != "completed" for each in unset)),
        zero("unset: calls to an unset provider", sum(sum(e.calls.values()) for e in unset)),
        zero("unset: lanes not skipped, or without the reason", sum(map(_unskipped, unset))),
        at_least("failing: calls to failing providers", sum(map(_called, failing)), len(failing)),
        zero(
            "failing: neither completed nor completed with errors",
            sum(not each.status.startswith("completed") for each in failing),
        ),
        zero("failing: lanes of a dead phase that did not fail", sum(map(_unfailed, failing))),
        zero("lanes blocked", sum(map(_blocked, runs))),
        at_least("rankings of the poorest run", min(each.rankings for each in runs), 1),
        at_least("content types with figures in the poorest run", min(map(_types, runs)), 3),
        zero("figures without coverage", sum(_without(each, "coverage") for each in runs)),
        zero("figures without a share", sum(_without(each, "share_unweighted") for each in runs)),
        zero("unknown components not named", sum(map(_unnamed, runs))),
        zero(
            "companies lost because one of two sources fails instead of being unset",
            sum(_lost_names(each, unset) for each in failing),
        ),
        zero("known components that differ between runs", sum(_differing(e, whole) for e in runs)),
    ]


def _unskipped(run: Outcome) -> int:
    lost = run.lost()
    return sum(
        (lane["status"] == "skipped") is not (lane["phase_name"] in lost)
        or (lane["status"] == "skipped" and "SERPLINE_" not in (lane["note"] or ""))
        for lane in run.lanes
    )


def _unfailed(run: Outcome) -> int:
    """Of the phases that had work: channels without videos, for instance, are none."""
    lost = run.lost()
    return sum(
        lane["status"] == "completed" and lane["note"] != "nothing to do"
        for lane in run.lanes
        if lane["phase_name"] in lost
    )


def _lost_names(run: Outcome, unset: Sequence[Outcome]) -> int:
    """Companies that Wikidata names if People Data Labs is unset, and not if it refuses the key."""
    if "pdl" not in run.missing:
        return 0
    same = next(each for each in unset if each.missing == run.missing)
    return max(0, same.companies - run.companies)


def _called(run: Outcome) -> bool:
    return sum(run.calls.values()) > 0


def _blocked(run: Outcome) -> int:
    return sum(lane["status"] == "blocked" for lane in run.lanes)


def _types(run: Outcome) -> int:
    return len({kind for kind, *_ in run.figures} - {"all"})


def _without(run: Outcome, column: str) -> int:
    """Figures that do not know a component. A combined figure has no shares."""
    typed = [row for (kind, *_), row in run.figures.items() if kind != "all"]
    return sum(row[column] is None for row in typed)


def _unnamed(run: Outcome) -> int:
    """Figures whose completeness does not name what their run lacks, or names something else."""
    lost = {PHASE_INPUTS[phase].component for phase in run.lost()}
    wrong = 0
    for (kind, *_), row in run.figures.items():
        named = row["completeness"]
        if kind == "all":
            wrong += (row["dsi"] is None) is not any(c in named for c in _COLUMNS.values())
            continue
        for column, component in _COLUMNS.items():
            is_named = component in named
            wrong += is_named is not (row[column] is None or component in lost)
    return wrong


def _differing(run: Outcome, whole: Outcome) -> int:
    """Known components that are not those of the run with the most providers.

    No news belongs to a channel. Other types are compared if nothing that finds owners is missing.
    """
    kinds = {"news"} if run.missing & _FIND_OWNERS else {"organic", "news", "video", "all"}
    found, expected = (
        {key: row for key, row in each.figures.items() if key[0] in kinds} for each in (run, whole)
    )
    differing = len(found.keys() ^ expected.keys())
    for key in found.keys() & expected.keys():
        for name in ("coverage", "share_unweighted", "traffic_share", "relevance", "dsi"):
            values = {found[key][name], expected[key][name]} - {None}
            differing += len(values) > 1
    return differing


ROW = Row(
    22,
    "every subset of the five providers beside the searches unset, failing (401), and all down",
    "figures with coverage and a share of voice in every run; no call to an unset provider; what is"
    " unknown is named; what is known equals a run with every provider",
    campaign,
    "No lane skipped: a run with all five unset had not ended after 300 s. Every failed lane"
    " blocks: 6 lanes blocked and no figures in a run with all five failing.",
)
