"""Facts about the Python face: typed rows and frames, actions, and its two forms."""

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from importlib import util
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from harness.collected_run import DEPTH, KEYWORDS, Filled
from harness.databases import copied_database

import serpline
from serpline.core.clock import SystemClock
from serpline.domain.states import StateStatus
from serpline.library.asked import Asked, read_filters
from serpline.pipeline.filters import Filters
from serpline.pipeline.state_tracker import StateTracker
from serpline.store.database import Database
from serpline.store.embedded.server import EmbeddedServer

RANKINGS = KEYWORDS * DEPTH
KEYWORDS_FILE = "keyword,market,tags\nflights,US,travel\nhotels,GB,\n"
NEWS = {"content_type": "news", "frequency": "daily", "time_of_day": "09:00"}


@pytest.fixture(scope="module")
def url(postgres: EmbeddedServer, filled: Filled) -> str:
    return postgres.url(filled.name)


@pytest.fixture(scope="module")
def project(url: str) -> Iterator[serpline.Project]:
    with serpline.open(database_url=url) as opened:
        yield opened


def test_rows_are_typed(project: serpline.Project, filled: Filled) -> None:
    """An iteration gives rows of the table's class, of the latest run with results."""
    rows = list(project.rankings())
    assert len(rows) == RANKINGS
    assert {type(row) for row in rows} == {serpline.Ranking}
    assert {row.run_id for row in rows} == {filled.run_id}
    assert rows[0].tags == ()
    assert rows[0].collected_at is not None
    assert rows[0].collected_at.utcoffset() is not None
    figure = next(iter(project.dsi()))
    assert isinstance(figure.sources, list)
    assert figure == project.dsi().to_list()[0]


def test_frames(project: serpline.Project) -> None:
    """polars, pandas and Arrow have the same rows."""
    table = project.dsi(market="us", content_type="video")
    frame = table.to_polars()
    assert isinstance(frame, pl.DataFrame)
    assert frame.height == len(table.to_list()) > 0
    pandas, arrow = table.to_pandas(), table.to_arrow()
    assert isinstance(pandas, pd.DataFrame)
    assert isinstance(arrow, pa.Table)
    assert pandas["company"].tolist() == frame["company"].to_list()
    assert arrow.column_names == frame.columns


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({"run": "all"}, RANKINGS + 10 * DEPTH),
        ({"since": "2000-01-01"}, RANKINGS + 10 * DEPTH),
        ({"until": "2000-01-01"}, 0),
        ({"keyword": "Keyword 7"}, DEPTH),
        ({"content_type": ["video", "news"], "device": "desktop"}, RANKINGS),
        ({"tag": "brand"}, 0),
    ],
)
def test_filters(project: serpline.Project, asked: Asked, rows: int) -> None:
    """Filters are keywords, each with one value or several."""
    if rows == 0 and "until" not in asked:
        with pytest.raises(serpline.UserError, match="no run has rankings for tags 'brand' yet"):
            project.rankings(**asked).to_list()
    else:
        assert project.rankings(**asked).to_polars().height == rows


def test_a_comparison(project: serpline.Project, filled: Filled) -> None:
    """Two runs are compared by their companies and their keywords, as frames."""
    (older,) = {row.run_id for row in project.runs()} - {filled.run_id}
    found = project.compare("video", before=older)
    assert found.companies["run_after"].unique().to_list() == [str(filled.run_id)]
    assert {"company", "change", "part_coverage", "note"} <= set(found.companies.columns)
    assert found.keywords["movement"].len() > 0
    with pytest.raises(serpline.UserError, match="choose organic, news or video"):
        project.compare("all")
    with pytest.raises(serpline.UserError, match=f"both sides are run {filled.run_id}"):
        project.compare("video", before=filled.run_id, after=filled.run_id)
    with pytest.raises(serpline.UserError, match="no tracked run has figures of video by that day"):
        project.compare("video", before="2020-01-01")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"run": "ffffffff"}, "run 'ffffffff': there is no such run"),
        ({"run": ""}, "run ''"),
        ({"market": "Atlantis"}, "unknown market 'Atlantis': give a code such as US"),
        ({"content_type": "images"}, "must be one of organic, news, video, all"),
        ({"device": "watch"}, "must be one of desktop, mobile, tablet"),
        ({"landscape": "brand"}, "landscape='brand': there is no such landscape"),
        ({"company": "not a domain"}, "must be a domain such as example.com"),
        ({"since": "yesterday"}, "since='yesterday': must be a date such as"),
        ({"since": "2026-02-02", "until": "2026-01-01"}, "'2026-02-02': is after until='2026-01"),
        ({"company": []}, "company: is an empty list: name one or several"),
        ({"markets": "US"}, "markets: is no filter; must be one of company, competitors, content"),
    ],
)
def test_values_that_cannot_be(project: serpline.Project, asked: Asked, message: str) -> None:
    """A mistyped value is one line with what is allowed, never an empty table."""
    with pytest.raises(serpline.UserError, match=message):
        project.rankings(**asked).to_polars()


def test_tables_without_runs(project: serpline.Project) -> None:
    """A run is no filter of tables that belong to none."""
    for table in (project.keywords(run="latest"), project.companies(run="ffffffff")):
        with pytest.raises(serpline.UserError, match="cannot be filtered by run"):
            table.to_polars()


def test_a_time_means_its_day_in_utc() -> None:
    """A time with a zone is of the day that it has in UTC."""
    late = datetime(2026, 1, 2, 23, 30, tzinfo=timezone(timedelta(hours=-2)))
    found = read_filters({"since": late, "until": datetime(2026, 1, 4, 1, tzinfo=UTC)})
    assert (found.since, found.until) == (date(2026, 1, 3), date(2026, 1, 4))


def test_keywords_become_filters() -> None:
    """Every keyword reaches its filter."""
    asked: Asked = {
        "run": UUID(int=1),
        "content_type": "news",
        "market": ["US", "GB"],
        "device": "mobile",
        "keyword": "hotels",
        "tag": ["a", "b"],
        "landscape": "brand",
        "company": "example.com",
        "ours": True,
        "competitors": False,
        "since": "2026-01-02",
        "until": None,
    }
    assert set(asked) == Asked.__optional_keys__
    found = read_filters(asked)
    assert (found.run, found.tags, found.relations) == (str(UUID(int=1)), ("a", "b"), ("ours",))
    values = [getattr(found, name) for name in Filters.__dataclass_fields__]
    assert [value for value in values if value in (None, ())] == [None]


def test_an_export_is_that_of_the_command(project: serpline.Project, tmp_path: Path) -> None:
    """A table is written in the format of the file's name, and replaces nothing."""
    path = tmp_path / "rankings.parquet"
    assert project.rankings().export(path) == RANKINGS
    assert pl.read_parquet(path).equals(project.rankings().to_polars())
    with pytest.raises(serpline.UserError, match="exists already"):
        project.rankings().export(path)
    with pytest.raises(serpline.UserError, match="format='xls': must be one of csv, xlsx"):
        project.rankings().export(path, format="xls")
    assert project.rankings().export(path, format="csv", overwrite=True) == RANKINGS
    assert path.read_bytes().startswith(b"\xef\xbb\xbfrun_id,")


@pytest.mark.parametrize("missing", ["pandas", "pyarrow"])
def test_a_missing_library_is_named_with_its_extra(
    project: serpline.Project, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Without pandas or pyarrow, one line says what to install."""
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == missing else name)
    with pytest.raises(
        serpline.UserError, match=rf"{missing} is not .* pip install pandas pyarrow"
    ):
        project.dsi().to_pandas()
    assert project.dsi().to_polars().height > 0


async def test_it_works_where_a_loop_is_running(url: str) -> None:
    """A notebook runs a loop, in which the synchronous face works; so does the asynchronous one."""
    with serpline.open(database_url=url) as opened:
        blocking = opened.dsi().to_list()
    async with serpline.open_async(database_url=url) as project:
        assert [row async for row in project.dsi()] == blocking
        assert await project.dsi().to_list() == blocking
        assert (await project.dsi().to_polars()).height == len(blocking)


def test_a_program_may_end_without_closing(url: str) -> None:
    """A project that nobody closes does not keep the interpreter alive."""
    program = "import serpline; print(len(serpline.open(%r).runs(run='all').to_list()))"
    program = program.replace("(%r)", f"(database_url={url!r})")
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "2", "")


def test_a_closed_project(url: str) -> None:
    """After ``close``, a call is one line; a second ``close`` does nothing."""
    opened = serpline.open(database_url=url)
    table = opened.dsi()
    opened.close()
    opened.close()
    with pytest.raises(serpline.UserError, match="the project is closed"):
        table.to_polars()


def test_a_server_that_cannot_be_reached() -> None:
    """An unusable database is one line, and leaves no thread."""
    with pytest.raises(serpline.UserError, match=r"127\.0\.0\.1"):
        serpline.open(database_url="postgresql://nobody@127.0.0.1:1/none")


def test_actions(postgres: EmbeddedServer, template_database: str, tmp_path: Path) -> None:
    """Runs, companies and schedules are changed from Python as from a terminal."""
    with (
        copied_database(postgres, template_database) as url,
        serpline.open(database_url=url) as project,
    ):
        with pytest.raises(serpline.UserError, match="there is no run yet"):
            project.lanes()
        file = tmp_path / "keywords.csv"
        file.write_text(KEYWORDS_FILE)
        done = project.import_keywords(file, landscape="brand")
        assert (done.pairs, done.new, done.problem_count) == (2, 2, 0)
        done = project.import_keywords(["hotels", "a, b"], market=["GB", "en-US"])
        assert (done.pairs, done.new) == (4, 3)
        with pytest.raises(serpline.UserError, match="a list of keywords needs one"):
            project.import_keywords(["hotels"])
        with pytest.raises(serpline.UserError, match=r"missing\.csv: No such file"):
            project.import_keywords("missing.csv")
        file.write_text("keyword,market\nhotels,Atlantis\nflats,FR\n")
        with pytest.raises(serpline.UserError, match="Atlantis"):
            project.import_keywords(file)
        assert len(project.import_keywords(file, skip_bad_lines=True).problems) == 1
        assert {row.keyword for row in project.keywords()} == {"flights", "hotels", "a, b", "flats"}
        assert [row.keyword for row in project.keywords(tag="travel")] == ["flights"]
        first = project.start(content_types="news", limit=1)
        with pytest.raises(serpline.UserError, match=rf"run {first}, started .*: again=True"):
            project.start(content_types="news", limit=1)
        again = project.start(content_types="news", limit=1, again=True)
        for each in (first, again):
            project.cancel(each)
        run = project.start(content_types="news", limit=1, mode="testing")
        assert {lane.content_type for lane in project.lanes(run)} == {"all", "news"}
        with pytest.raises(serpline.UserError, match="no worker is running"):
            project.wait("latest")
        project.cancel(str(run)[:13])
        assert project.wait(run) == "cancelled"
        assert "serp_collection/news" in project.retry(run)
        with pytest.raises(serpline.UserError, match="phase='serps': must be one of"):
            project.retry(run, phase="serps")
        assert project.mark_company("https://www.example.com/x", "ours") == "example.com"
        assert [row.company for row in project.companies(ours=True)] == ["example.com"]
        project.mark_company("example.com", None)
        assert project.companies().to_list() == []
        project.add_schedule("daily", NEWS)
        (triggered,) = project.trigger("daily")
        assert {row.run_id for row in project.runs()} == {first, again, run, triggered}
        assert [row.content_type for row in project.slots()] == ["news"]
        project.pause_schedule("daily", reason="holidays")
        (paused,) = project.schedules()
        assert (paused.status, paused.next_at, paused.pause_reason) == ("paused", None, "holidays")
        project.resume_schedule("daily")
        (resumed,) = project.schedules()
        assert resumed.next_at is not None
        assert project.breakers() == []
        assert {budget.provider for budget in project.budgets()} >= {"scaleserp"}


def test_both_faces_have_the_same_methods() -> None:
    """The synchronous face has every method of the other, with the same parameters and words."""
    for blocking, other in (
        (serpline.Project, serpline.AsyncProject),
        (serpline.Table, serpline.AsyncTable),
    ):
        ours, theirs = _methods(blocking), _methods(other)
        assert ours.keys() - theirs.keys() <= {"close"}
        assert theirs.keys() <= ours.keys()
        for name in theirs:
            assert _shown(ours[name]) == _shown(theirs[name])


async def _fail(url: str) -> UUID:
    """A run whose only item failed."""
    database, run = await Database.connect(url), uuid4()
    tracker = StateTracker(database, SystemClock())
    await tracker.initialize_pipeline(
        pipeline_execution_id=run, phases=["serp_collection"], items=["hotels"]
    )
    await tracker.update_item_status(
        run, "serp_collection", "hotels", StateStatus.FAILED, error="no such market"
    )
    await database.close()
    return run


def test_failures(database_url: str) -> None:
    """Failed items are listed by their filters; one that cannot be is refused."""
    run = asyncio.run(_fail(database_url))
    with serpline.open(database_url=database_url) as project:
        (failure,) = project.failures(run, phase="serp_collection", category="internal")
        assert (failure.item, failure.error) == ("hotels", "no such market")
        assert project.failures(run, content_type="news") == []
        with pytest.raises(serpline.UserError, match="category='bad': must be one of"):
            project.retry(run, category="bad")


def _methods(face: type) -> dict[str, Any]:
    members = inspect.getmembers(face, inspect.isfunction)
    return {name: member for name, member in members if not name.startswith("_")}


def _shown(method: Any) -> tuple[object, str | None]:
    return list(inspect.signature(method).parameters.values()), inspect.getdoc(method)
