"""Web pages on the wire: which replies are pages."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serpline.domain.errors import ErrorCategory, ProviderError
from serpline.domain.http import HttpReply
from serpline.providers.pages.client import PAGE_BYTES_MAX, PageClient
from serpline.providers.pages.wire import PageDocument

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
URL = "https://northwind.example/islands"
CALL = PageClient(now=lambda: NOW).fetch_page(URL)
HTML = b"<!doctype html><html><body><p>Ten islands</p></body></html>"
TYPE = {"content-type": "text/html; charset=UTF-8"}


def error_of(reply: HttpReply) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        CALL.parse(reply)
    return caught.value


def test_a_fetch_is_a_bounded_get() -> None:
    """The call is free and bounded in size; its identity is the address."""
    assert (CALL.provider, CALL.request.method, CALL.request.url) == ("page", "GET", URL)
    assert CALL.request.size_bytes_max == PAGE_BYTES_MAX
    assert CALL.identity == {"url": URL}
    assert CALL.credits == 0


@pytest.mark.parametrize(
    "url", ["", "northwind.example", "file:///etc/passwd", "https:/x", "https://x/" + "a" * 2048]
)
def test_an_invalid_address_is_rejected(url: str) -> None:
    """Only http and https addresses of bounded length become a call."""
    with pytest.raises(ProviderError, match="not the address") as caught:
        PageClient(now=lambda: NOW).fetch_page(url)
    assert (caught.value.category, caught.value.permanent) == (ErrorCategory.BAD_REQUEST, True)


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/html", None),
        ("Text/HTML; Charset=UTF-8", "utf-8"),
        ('text/html;charset="gb2312"', "gb2312"),
        ("application/xhtml+xml; charset=windows-1251", "windows-1251"),
    ],
)
def test_html_becomes_a_document(content_type: str, charset: str | None) -> None:
    """The bytes, the final address and the server's charset are kept."""
    reply = HttpReply(200, {"content-type": content_type}, HTML, url=f"{URL}/final")
    assert CALL.parse(reply) == PageDocument(f"{URL}/final", HTML, charset, requested_url=URL)


def test_a_page_without_a_type_is_sniffed() -> None:
    """Without a declared type, the bytes decide whether it is HTML."""
    assert CALL.parse(HttpReply(200, {}, b"\xef\xbb\xbf\n <HTML>x")).url == URL
    assert error_of(HttpReply(200, {}, b"%PDF-1.7")).category is ErrorCategory.EMPTY


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/pdf", HTML),
        ("application/json", b"{}"),
        ("image/png", b"\x89PNG"),
        ("text/plain", HTML),
        ("text/html", b" \n "),
    ],
)
def test_other_documents_are_permanently_empty(content_type: str, body: bytes) -> None:
    """Another type of document, or an empty one, fails permanently and counts against nobody."""
    error = error_of(HttpReply(200, {"content-type": content_type}, body))
    assert (error.category, error.permanent, error.breaker_failure) == (
        ErrorCategory.EMPTY,
        True,
        False,
    )


@pytest.mark.parametrize(
    ("status", "category", "permanent"),
    [
        (204, ErrorCategory.EMPTY, True),
        (301, ErrorCategory.NOT_FOUND, True),
        (401, ErrorCategory.ACCESS_DENIED, True),
        (403, ErrorCategory.ACCESS_DENIED, True),
        (404, ErrorCategory.NOT_FOUND, True),
        (410, ErrorCategory.NOT_FOUND, True),
        (451, ErrorCategory.ACCESS_DENIED, True),
        (999, ErrorCategory.ACCESS_DENIED, True),
        (408, ErrorCategory.TIMEOUT, False),
        (429, ErrorCategory.RATE_LIMIT, False),
        (500, ErrorCategory.SERVER, False),
        (503, ErrorCategory.SERVER, False),
    ],
)
def test_an_error_page_is_never_a_document(
    status: int, category: ErrorCategory, permanent: bool
) -> None:
    """A status other than 200 is an error, whatever its body."""
    error = error_of(HttpReply(status, {**TYPE, "retry-after": "9"}, HTML))
    assert (error.category, error.permanent, error.http_status) == (category, permanent, status)
    assert error.retry_after_seconds == (None if permanent else 9.0)


@given(
    status=st.integers(100, 999),
    headers=st.dictionaries(st.sampled_from(["content-type", "retry-after"]), st.text(max_size=40)),
    body=st.binary(max_size=100),
)
@settings(max_examples=200)
def test_any_reply_is_a_document_or_a_provider_error(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    """Every reply is a document or a ``ProviderError``; no failure becomes a document."""
    try:
        document = CALL.parse(HttpReply(status, headers, body))
    except ProviderError:
        return
    assert status == 200
    assert document.html == body
