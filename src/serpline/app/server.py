"""The database's URL, and the embedded server, which every process may start again."""

import asyncio

from serpline.core.clock import Clock
from serpline.core.logging import get
from serpline.core.settings import Settings
from serpline.domain.errors import UserError

CHECK_SECONDS = 5.0

log = get(__name__)


async def database_url(settings: Settings) -> str:
    """The URL of the configured database, or else of the embedded server, which is started."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    # Imported here, because an external database does not need it.
    from serpline.store.embedded.server import ensure_server

    server = await asyncio.to_thread(
        ensure_server, settings.data_dir / "postgres", settings.postgres_bin
    )
    return server.url()


async def keep_server(settings: Settings, clock: Clock) -> None:
    """Restart the embedded server whenever it has died, and bound its log, until cancelled."""
    while settings.database_url is None:
        await clock.sleep(CHECK_SECONDS)
        try:
            await database_url(settings)
        except UserError as error:
            log.warning("server.down", action="server.down", error=str(error))
