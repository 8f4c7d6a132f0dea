"""Text extraction with real processes: its results, and what a bad page costs."""

import asyncio
import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.providers.pages.extract_main import TEXT_CHARS_MAX
from serpline.providers.pages.extraction import Extractor
from serpline.providers.pages.wire import PageDocument, PageText

URL = "https://northwind.example/islands"
# Takes the extractor some 20 seconds of work, where an article takes hundredths of one.
ENDLESS = PageDocument(URL, b"<html><body>" + b"<p>a</p>" * 300_000)


def article(number: int, words: int = 60, paragraphs: int = 6) -> bytes:
    """A page with a menu, metadata and text of its own."""
    dice = random.Random(number)
    sentences = [
        " ".join(
            f"{dice.choice(['island', 'harbour', 'ferry'])}{dice.randrange(999)}"
            for _ in range(words)
        )
        for _ in range(paragraphs)
    ]
    body = "".join(f"<p>Article {number} says {sentence}.</p>" for sentence in sentences)
    menu = "".join(f"<li><a href='/menu/{n}'>Menu entry {n}</a></li>" for n in range(40))
    return f"""<!doctype html>
<html lang="en-GB"><head><meta charset="utf-8"><title>Islands {number}</title>
<link rel="canonical" href="https://www.northwind.example/islands/{number}">
<meta name="author" content="Jane Roe"><meta property="og:site_name" content="Northwind">
<meta property="article:published_time" content="2026-02-03T10:00:00Z"></head>
<body><nav><ul>{menu}</ul></nav><main><article><h1>Islands {number}</h1>{body}</article></main>
<footer>All rights reserved</footer></body></html>""".encode()


async def error_of(extractor: Extractor, document: PageDocument) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await extractor.extract(document)
    return caught.value


async def outcome_of(extractor: Extractor, document: PageDocument) -> PageText | ProviderError:
    try:
        return await extractor.extract(document)
    except ProviderError as error:
        return error


async def busy_pid(extractor: Extractor) -> int:
    """The id of the process that is extracting a page, once there is one."""
    while not extractor.busy_pids:
        await asyncio.sleep(0)
    return extractor.busy_pids[0]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_page_becomes_text_with_metadata() -> None:
    """Title, author, day, language, site and canonical address are read; the menu is left out."""
    async with Extractor(processes=1) as extractor:
        found = await extractor.extract(PageDocument(URL, article(7), "utf-8"))
    assert found.text.count("Article 7 says") == 6
    assert "Menu entry" not in found.text
    assert found == PageText(
        url=URL,
        text=found.text,
        truncated=False,
        title="Islands 7",
        author="Jane Roe",
        date="2026-02-03",
        language="en-gb",
        sitename="Northwind",
        canonical_url="https://www.northwind.example/islands/7",
    )


async def test_missing_metadata_is_none() -> None:
    """No author and no day are invented from the text."""
    html = b"<html><body><p>Founded on 1 May 1998 in Seattle, it sells journeys.</p><p>2</p>"
    async with Extractor(processes=1) as extractor:
        found = await extractor.extract(PageDocument(URL, html))
    assert (found.author, found.date, found.language, found.title) == (None, None, None, None)
    assert "Founded on 1 May 1998" in found.text


@pytest.mark.parametrize(
    ("charset", "encoding"), [("gb2312", "gb18030"), (None, "utf-8"), ("utf-8", "utf-8")]
)
async def test_text_in_any_script_survives(charset: str | None, encoding: str) -> None:
    """The characters of the page arrive unchanged."""
    html = "<html><body><p>吕梁市的三川河流经山西省西部,最后汇入黄河。</p><p>完</p></body></html>"
    async with Extractor(processes=1) as extractor:
        found = await extractor.extract(PageDocument(URL, html.encode(encoding), charset))
    assert "吕梁市的三川河流经山西省西部" in found.text


async def test_text_is_bounded() -> None:
    """A long page is cut at the bound and marked as truncated."""
    async with Extractor(processes=1) as extractor:
        found = await extractor.extract(PageDocument(URL, article(1, paragraphs=120)))
    assert TEXT_CHARS_MAX - 1 <= len(found.text) <= TEXT_CHARS_MAX
    assert found.truncated


@pytest.mark.parametrize(
    ("html", "category"),
    [
        (b"<html><body></body></html>", ErrorCategory.EMPTY),
        (b"<html><head><title>x</title></head><body><script>f()</script>", ErrorCategory.EMPTY),
        (b"hello world", ErrorCategory.MALFORMED),
        (b"\x00\x01\x02" * 1_000, ErrorCategory.MALFORMED),
        (b"%PDF-1.7 \xe2\xe3\xcf\xd3", ErrorCategory.MALFORMED),
    ],
)
async def test_a_page_without_text_fails_for_good(html: bytes, category: ErrorCategory) -> None:
    """No text is EMPTY, no markup is MALFORMED; the process lives on."""
    async with Extractor(processes=1) as extractor:
        await extractor.extract(PageDocument(URL, article(1)))
        pids = extractor.pids
        error = await error_of(extractor, PageDocument(URL, html))
        assert (error.category, error.permanent, error.provider) == (category, True, "page")
        assert (await extractor.extract(PageDocument(URL, article(2)))).title == "Islands 2"
        assert extractor.pids == pids


@pytest.mark.parametrize(
    "html",
    [
        b"<div>" * 200_000 + b"deep",
        b"<html><body><table>" + b"<tr><td>x<table>" * 20_000,
        b"<html><body><p " + b"a=1 " * 300_000 + b">text</p></body></html>",
        b"<html><body>" + b"<p>&#xD800;&#0;\x00hi there, dear friend</p>" * 5,
        b"<html " + b"lang" * 50_000,
        b"<meta " * 100_000,
        b"\x1f\x8b\x08" + b"\x00" * 100,
        b"<?xml version='1.0' encoding='utf-16'?><html><body><p>declared</p><p>wrong</p></body>",
        b"<html><body>" + "\u202e\U0001f3dd".encode() * 5_000 + b"</body></html>",
    ],
)
async def test_a_hostile_page_is_text_or_an_error_and_the_next_page_is_read(html: bytes) -> None:
    """Depth, size, broken characters: the next page is still extracted."""
    async with Extractor(processes=1) as extractor:
        found = await outcome_of(extractor, PageDocument(URL, html))
        if isinstance(found, PageText):
            assert "\x00" not in found.text
            assert found.text.encode()
        else:
            assert found.category in (ErrorCategory.EMPTY, ErrorCategory.MALFORMED)
        assert (await extractor.extract(PageDocument(URL, article(3)))).title == "Islands 3"


async def test_four_pages_at_once_come_back_to_their_own_callers() -> None:
    """Two processes serve four pages; every caller gets its own page."""
    async with Extractor(processes=2) as extractor:
        found = await asyncio.gather(
            *(extractor.extract(PageDocument(f"{URL}/{n}", article(n))) for n in range(4))
        )
        assert len(extractor.pids) == 2
    assert [(page.url, page.title) for page in found] == [
        (f"{URL}/{n}", f"Islands {n}") for n in range(4)
    ]
    assert all(f"Article {n} says" in page.text for n, page in enumerate(found))


async def test_a_hanging_page_costs_only_itself() -> None:
    """Its process is killed at the deadline; other pages are extracted."""
    async with Extractor(processes=2, deadline_seconds=1.0) as extractor:
        hanging = asyncio.create_task(error_of(extractor, ENDLESS))
        pid = await busy_pid(extractor)
        beside = await asyncio.gather(
            *(extractor.extract(PageDocument(URL, article(n))) for n in range(3))
        )
        assert [page.title for page in beside] == ["Islands 0", "Islands 1", "Islands 2"]
        error = await hanging
        assert (error.category, error.permanent) == (ErrorCategory.TIMEOUT, False)
        assert gone(pid)
        assert (await extractor.extract(PageDocument(URL, article(9)))).title == "Islands 9"


async def test_a_process_killed_in_mid_page_costs_only_that_page() -> None:
    """kill -9 in mid-page: that page fails, the next one gets a fresh process."""
    async with Extractor(processes=1, deadline_seconds=100) as extractor:
        victim = asyncio.create_task(error_of(extractor, ENDLESS))
        behind = asyncio.create_task(extractor.extract(PageDocument(URL, article(5))))
        pid = await busy_pid(extractor)
        os.kill(pid, signal.SIGKILL)
        error = await victim
        assert (error.category, error.permanent) == (ErrorCategory.MALFORMED, False)
        assert "signal 9" in str(error)
        assert (await behind).title == "Islands 5"
        assert gone(pid)
        assert extractor.pids != [pid]


async def test_a_process_killed_between_pages_costs_no_page() -> None:
    """A dead process is replaced, and the page is extracted."""
    async with Extractor(processes=1) as extractor:
        await extractor.extract(PageDocument(URL, article(1)))
        for number in range(2, 5):
            os.kill(extractor.pids[0], signal.SIGKILL)
            found = await extractor.extract(PageDocument(URL, article(number)))
            assert found.title == f"Islands {number}"


async def test_a_page_that_exhausts_memory_costs_only_itself() -> None:
    """The memory limit ends such a page; the next one is extracted."""
    async with Extractor(
        processes=1, deadline_seconds=60, memory_bytes_max=160_000_000
    ) as extractor:
        swelling = PageDocument(URL, b"<html><body>" + b"<p>a<b>c</b></p>" * 300_000)
        error = await error_of(extractor, swelling)
        # The parser reports some failed allocations as a document without content.
        assert error.category in (ErrorCategory.MALFORMED, ErrorCategory.EMPTY)
        assert (await extractor.extract(PageDocument(URL, article(4)))).title == "Islands 4"


async def test_a_cancelled_page_does_not_answer_for_the_next_one() -> None:
    """Its process is killed, so its late reply answers no other page."""
    async with Extractor(processes=1, deadline_seconds=100) as extractor:
        cancelled = asyncio.create_task(extractor.extract(ENDLESS))
        pid = await busy_pid(extractor)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert gone(pid)
        assert (await extractor.extract(PageDocument(URL, article(6)))).title == "Islands 6"


async def test_a_process_is_replaced_after_its_number_of_pages() -> None:
    """A limited number of pages per process bounds the parser's leaks."""
    async with Extractor(processes=1, pages_per_process_max=2) as extractor:
        seen = []
        for number in range(5):
            await extractor.extract(PageDocument(URL, article(number)))
            seen += extractor.pids
    assert seen[0] == seen[1] != seen[2] == seen[3] != seen[4]


@pytest.mark.parametrize("program", ["/bin/false", "/bin/echo", "/nonexistent/python"])
async def test_an_extractor_that_cannot_start_is_an_internal_error(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that is missing, fails or sends nonsense is our error, not the page's."""
    async with Extractor(processes=1) as extractor:
        monkeypatch.setattr(sys, "executable", program)
        error = await error_of(extractor, PageDocument(URL, article(1)))
        assert (error.category, error.permanent) == (ErrorCategory.INTERNAL, False)
        monkeypatch.undo()
        assert (await extractor.extract(PageDocument(URL, article(8)))).title == "Islands 8"


async def test_leaving_ends_every_process() -> None:
    """No process is left, and a further extraction is an error."""
    async with Extractor(processes=2) as extractor:
        await asyncio.gather(*(extractor.extract(PageDocument(URL, article(n))) for n in range(4)))
        pids = extractor.pids
        assert len(pids) == 2
    assert all(gone(pid) for pid in pids)
    with pytest.raises(RuntimeError, match="async with"):
        await extractor.extract(PageDocument(URL, article(1)))


async def test_the_process_receives_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that parses strangers' pages has none of the installation's keys."""
    monkeypatch.setenv("SERPLINE_PDL_API_KEY", "pdl-secret")
    async with Extractor(processes=1) as extractor:
        await extractor.extract(PageDocument(URL, article(1)))
        (pid,) = extractor.pids
        shown = subprocess.run(
            ["ps", "eww", "-o", "command=", "-p", str(pid)], capture_output=True, check=True
        ).stdout
    assert b"extract_start" in shown
    assert b"PATH=" in shown
    assert b"pdl-secret" not in shown


PARENT = """
import asyncio
from serpline.providers.pages.extraction import Extractor
from serpline.providers.pages.wire import PageDocument

async def main():
    async with Extractor(processes=2, deadline_seconds=1.0) as extractor:
        good = b"<html><body><p>Some text" + b" that is long enough" * 9 + b".</p></body></html>"
        await asyncio.gather(*(extractor.extract(PageDocument("https://a.example", good))
                               for _ in range(2)))
        endless = PageDocument("https://a.example", b"<html><body>" + b"<p>a</p>" * 300_000)
        task = asyncio.create_task(extractor.extract(endless))
        while not extractor.busy_pids:
            await asyncio.sleep(0)
        print(*extractor.pids, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, input)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="awaiting a stranger's end needs Linux")
def test_processes_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    """kill -9 of the parent, one process idle and one in a hanging page: both end."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        watched = [os.pidfd_open(pid) for pid in pids]
        parent.kill()
        parent.wait()
    assert len(pids) == 2
    try:
        for handle in watched:
            # Readable when the process has ended; its deadline and the alarm's grace are 3 s.
            assert select.select([handle], [], [], 30)[0]
    finally:
        for handle in watched:
            os.close(handle)


async def test_a_failed_start_names_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's error names a missing or broken library."""
    (tmp_path / "trafilatura.py").write_text("raise ImportError('no such library here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with Extractor() as extractor:
        with pytest.raises(ProviderError, match="cannot be started: ImportError: no such library"):
            await extractor.extract(PageDocument(url="https://a.example/", html=b"<p>a</p>"))
