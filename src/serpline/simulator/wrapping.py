"""Result links that lead through a third party: the fault ``wrapped_links``.

Search engines sometimes return Google's redirect, an AMP cache, a translated copy, another engine's
redirect, or another form of a video's address. The form follows from the seed and the link. In the
form ``/goto``, the target is hidden and the result's ``domain`` stays the publisher's; in all other
forms the domain is the wrapper's.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlsplit

from serpline.simulator.seeds import stamp
from serpline.simulator.wire import Reply

_VIDEO = "https://www.youtube.com/watch?v="


def wrapped(reply: Reply, seed: int) -> Reply:
    """Wrap every result's link in a successful JSON reply. Other replies stay unchanged."""
    if reply.status != 200 or reply.body[:1] not in (b"{", b"["):
        return reply
    return replace(reply, body=json.dumps(_walk(json.loads(reply.body), seed)).encode())


def forms(link: str) -> list[str]:
    """All forms of ``link``. The first, ``/goto``, does not contain it."""
    if link.startswith(_VIDEO):
        video = link.removeprefix(_VIDEO)
        return [
            f"https://youtu.be/{video}?si=x",
            f"https://www.youtube.com/shorts/{video}",
            f"https://m.youtube.com/watch?app=desktop&v={video}",
            f"https://www.youtube-nocookie.com/embed/{video}",
            f"https://www.google.com/url?q={quote(link, safe='')}&sa=U",
        ]
    parts = urlsplit(link)
    secure = "s/" if parts.scheme == "https" else ""
    page = f"{secure}{parts.netloc}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    label = parts.netloc.replace("-", "--").replace(".", "-")
    token = base64.urlsafe_b64encode(stamp("goto", link).to_bytes(8, "big")).decode().rstrip("=")
    coded = base64.urlsafe_b64encode(link.encode()).decode().rstrip("=")
    scheme = "" if secure else "&_x_tr_sch=http"
    return [
        f"https://www.google.com/goto?url=CAES{token}",
        f"https://www.google.com/url?q={quote(link, safe='')}&sa=U&ved=2ahUKE",
        f"https://www.google.co.uk/url?sa=t&url={quote(link, safe='')}",
        f"https://www.google.com/amp/{page}",
        f"https://{label}.cdn.ampproject.org/c/{page}",
        f"https://{label}.translate.goog{parts.path}?_x_tr_sl=de&_x_tr_tl=en{scheme}",
        f"https://translate.google.de/translate?hl=en&u={quote(link, safe='')}",
        f"https://www.bing.com/ck/a?!&&p=1&u=a1{coded}&ntb=1",
        f"https://r.search.yahoo.com/_ylt=A/RV=2/RU={quote(link, safe='')}/RK=2/RS=x-",
    ]


def _walk(value: Any, seed: int) -> Any:
    if isinstance(value, list):
        return [_walk(each, seed) for each in value]
    if not isinstance(value, Mapping):
        return value
    row = {name: _walk(each, seed) for name, each in value.items()}
    link: Any = row.get("link")
    if "domain" in row and isinstance(link, str):
        chosen = forms(link)
        form = chosen[stamp(seed, "form", link) % len(chosen)]
        domain = row["domain"] if "/goto?" in form else urlsplit(form).netloc
        return {**row, "link": form, "domain": domain}
    return row
