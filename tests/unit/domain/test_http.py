"""The ``repr`` of requests, replies and calls shows nothing that could be a key."""

import pytest

from serpline.domain.http import HttpReply, HttpRequest, ProviderCall

KEY = "k3y-nobody-may-see"
REQUEST = HttpRequest(
    "GET",
    f"https://me:{KEY}@api.test/{KEY}?api_key={KEY}#{KEY}",
    params={"key": KEY},
    headers={"x-api-key": KEY},
    json={"key": KEY},
    basic_auth=("me", KEY),
    secrets=(KEY,),
)


@pytest.mark.parametrize(
    ("thing", "shown"),
    [
        (REQUEST, "<HttpRequest GET api.test>"),
        (HttpRequest("GET", "https://["), "<HttpRequest GET no URL>"),
        (HttpRequest("GET", "/x"), "<HttpRequest GET no host>"),
        (
            HttpRequest("GET", f"https://{KEY}.test/", secrets=(KEY,)),
            "<HttpRequest GET a secret host>",
        ),
        (HttpReply(200, {"x": KEY}, KEY.encode(), f"/?k={KEY}"), "<HttpReply 200, 18 bytes>"),
        (
            ProviderCall("pdl", "enrich", REQUEST, {"q": KEY}, lambda _reply: None),
            "<ProviderCall pdl enrich>",
        ),
    ],
)  # fmt: skip
def test_a_representation_shows_no_query_and_no_secret(thing: object, shown: str) -> None:
    """It shows method and host, status and size, provider and operation."""
    assert repr(thing) == shown
    assert KEY not in f"{thing} {[thing]}"
