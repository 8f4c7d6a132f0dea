"""Extracts text from pages, in processes that can be killed.

Promise: a page that hangs, crashes or bloats its extractor fails alone; the next page gets a fresh
process. Bounded: simultaneous pages, seconds per page, memory and pages per process, characters of
text. Limits: starting a process takes about a second; a fast heuristic chooses the main content.
"""

import asyncio
from types import TracebackType
from typing import Any, Self

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.names import EmptyKind
from serpline.domain.replies import as_text
from serpline.providers.pages.errors import PROVIDER, EmptyPageError
from serpline.providers.pages.wire import PageDocument, PageText
from serpline.providers.pages.worker import ExtractorWorker, WorkerDied

START_SECONDS_MAX = 60.0
# Starts per page, if the process ends before it receives the page.
_STARTS_MAX = 3
# How long a process may take to exit after its pipe has closed.
_ENDING_SECONDS_MAX = 2.0


class Extractor:
    """A pool of extractor processes, started when first needed.

    Use as ``async with Extractor() as extractor: text = await extractor.extract(document)``; any
    number of ``extract`` may wait at once. Leaving waits for the running pages, at most
    ``deadline_seconds`` each.
    """

    def __init__(
        self,
        *,
        processes: int = 2,
        deadline_seconds: float = 15.0,
        memory_bytes_max: int = 1 << 30,
        pages_per_process_max: int = 500,
    ) -> None:
        self._deadline_seconds = deadline_seconds
        self._pages_per_process_max = pages_per_process_max
        self._workers = [
            ExtractorWorker(memory_bytes_max=memory_bytes_max) for _ in range(processes)
        ]
        self._idle: asyncio.Queue[ExtractorWorker] = asyncio.Queue()
        self._open = False

    @property
    def pids(self) -> list[int]:
        """The ids of the running processes."""
        return [worker.pid for worker in self._workers if worker.alive and worker.pid]

    @property
    def busy_pids(self) -> list[int]:
        """The ids of the processes that are extracting a page."""
        return [worker.pid for worker in self._workers if worker.busy and worker.pid]

    async def __aenter__(self) -> Self:
        for worker in self._workers:
            self._idle.put_nowait(worker)
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        for _ in self._workers:
            worker = await self._idle.get()
            await worker.kill()

    async def extract(self, document: PageDocument) -> PageText:
        """Extract the text of ``document``.

        Raises ``EmptyPageError`` for a page without content, otherwise ``ProviderError`` (provider
        "page"): MALFORMED if it is not HTML or broke the extractor, TIMEOUT after the deadline,
        INTERNAL if no extractor can be started.
        """
        if not self._open:
            raise RuntimeError("Extractor is used outside of its 'async with'")
        worker = await self._idle.get()
        try:
            return _page_text(document, await self._reply(worker, document))
        finally:
            self._idle.put_nowait(worker)

    async def _reply(self, worker: ExtractorWorker, document: PageDocument) -> dict[str, Any]:
        try:
            for _ in range(_STARTS_MAX):
                await self._ready(worker)
                try:
                    return await self._ask(worker, document)
                except WorkerDied as death:
                    status = await worker.kill(grace_seconds=_ENDING_SECONDS_MAX)
                    if death.received:
                        raise _broke_extractor(status) from None
                    # It ended before it received the page: try a new process.
            raise _no_extractor("it ends before it receives a page")
        except BaseException:
            # Cancelled or timed out: the late reply must not answer the next page.
            await worker.kill()
            raise

    async def _ready(self, worker: ExtractorWorker) -> None:
        if worker.alive and worker.pages < self._pages_per_process_max:
            return
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await worker.start()
        except WorkerDied as death:
            status = await worker.kill(grace_seconds=_ENDING_SECONDS_MAX)
            raise _no_extractor(death.reason or f"it ended with status {status}") from None
        except (TimeoutError, OSError) as error:
            raise _no_extractor(type(error).__name__) from None

    async def _ask(self, worker: ExtractorWorker, document: PageDocument) -> dict[str, Any]:
        request = {
            "url": document.url,
            "charset": document.charset,
            "requested_url": document.requested_url or document.url,
            "deadline_seconds": self._deadline_seconds,
        }
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await worker.ask(request, document.html)
        except TimeoutError:
            raise ProviderError(
                f"the page took longer than {self._deadline_seconds:g} s to extract",
                provider=PROVIDER,
                category=ErrorCategory.TIMEOUT,
            ) from None


def _page_text(document: PageDocument, reply: dict[str, Any]) -> PageText:
    if reply.get("kind") in list(EmptyKind):
        raise EmptyPageError(EmptyKind(reply["kind"]), as_text(reply.get("sign")) or "")
    text = as_text(reply.get("text"))
    if text is None:
        if reply.get("error") == "malformed":
            raise ProviderError(
                "the page is not readable HTML",
                provider=PROVIDER,
                category=ErrorCategory.MALFORMED,
                permanent=True,
            )
        raise EmptyPageError(EmptyKind.NO_TEXT, "no text")
    canonical = as_text(reply.get("canonical_url"))
    return PageText(
        url=document.url,
        text=text,
        truncated=reply.get("truncated") is True,
        title=as_text(reply.get("title")),
        author=as_text(reply.get("author")),
        date=as_text(reply.get("date")),
        language=as_text(reply.get("language")),
        sitename=as_text(reply.get("sitename")),
        canonical_url=canonical if canonical and canonical.startswith("http") else None,
    )


def _broke_extractor(status: int | None) -> ProviderError:
    how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
    return ProviderError(
        f"the page broke the extractor ({how})",
        provider=PROVIDER,
        category=ErrorCategory.MALFORMED,
    )


def _no_extractor(problem: str) -> ProviderError:
    return ProviderError(
        f"the page extractor cannot be started: {problem}",
        provider=PROVIDER,
        category=ErrorCategory.INTERNAL,
    )
