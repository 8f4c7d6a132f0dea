"""Open a project, for synchronous and for asynchronous programs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from serpline.app.services import open_services
from serpline.core.settings import Settings, load
from serpline.library.blocking import POOL_SIZE, Project
from serpline.library.project import AsyncProject


def open(  # noqa: A001  as serpline.open
    data_dir: str | Path | None = None, database_url: str | None = None
) -> Project:
    """Open a project: ``with serpline.open() as s: s.dsi(market="US").to_polars()``.

    ``database_url``: a PostgreSQL database; default: SERPLINE_DATABASE_URL. Without both, the
    embedded database in ``data_dir`` is started; default: SERPLINE_DATA_DIR, or the user's data
    directory. The schema is migrated if necessary. Raises ``UserError`` or ``SettingsError``, with
    one line for a person.
    """
    return Project(_settings(data_dir, database_url))


@asynccontextmanager
async def open_async(
    data_dir: str | Path | None = None, database_url: str | None = None
) -> AsyncIterator[AsyncProject]:
    """Open a project in the running event loop, as ``open`` does: ``async with open_async()``."""
    async with open_services(_settings(data_dir, database_url), pool_size=POOL_SIZE) as services:
        yield AsyncProject(services)


def _settings(data_dir: str | Path | None, database_url: str | None) -> Settings:
    directory = None if data_dir is None else Path(data_dir).expanduser().absolute()
    settings = load(data_dir=directory, database_url=database_url)
    if directory is not None and database_url is None:
        # The directory names its own database, whatever the environment has.
        settings = settings.model_copy(update={"database_url": None})
    return settings
