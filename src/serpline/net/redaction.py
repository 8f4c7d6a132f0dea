"""Removes keys from messages, logs and stored text.

It replaces known values (a request's ``secrets``, in every spelling) and the values of known names
(query parameters that carry keys).
Limit: an unknown secret under an unknown name is not recognised.
"""

import base64
import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

from serpline.core.masking import MASK, mask
from serpline.domain.http import HttpRequest
from serpline.net.limits import SECRET_CHARS_MIN

# fmt: off
SECRET_PARAMS = frozenset({
    "access_key", "access_token", "accesskey", "api-key", "api_key", "apikey", "app_key", "appkey",
    "assertion", "auth", "auth_token", "authorization", "authtoken", "awsaccesskeyid", "bearer",
    "client_secret", "code_verifier", "credential", "credentials", "hmac", "id_token", "jwt", "key",
    "pass", "passwd", "password", "private_key", "pwd", "refresh_token", "secret", "secret_key",
    "session", "session_id", "sessionid", "sid", "sig", "signature", "subscription-key", "token",
    "x-amz-credential", "x-amz-security-token", "x-amz-signature", "x-api-key",
    "x-goog-credential", "x-goog-signature",
})
# fmt: on

_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"}
)

# A parameter in a text: ``?name=value`` or ``&name=value``, up to the end of the URL.
_IN_TEXT = re.compile(r"([?&;#])([^=&;#?\s\"'<>]{1,64})=([^&;#\s\"'<>]*)")
_USERINFO_IN_TEXT = re.compile(r"(?<=://)[^/?#\s\"'<>]*@")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` without ``secrets`` (in any encoding) and the values of known secret parameters.

    Never raises. Empty secrets are ignored. Any other secret is replaced, however short.
    """
    plain = _USERINFO_IN_TEXT.sub(f"{MASK}@", mask(text, secrets))
    return _IN_TEXT.sub(_masked_param, plain)


def redact_url(url: str) -> str:
    """``url`` without user information and the values of known secret parameters.

    Covers the query and the fragment, and names in any case or percent-encoding. Never raises, even
    if ``url`` is not a URL.
    """
    head, mark, tail = _split_query(url)
    scheme, separator, rest = head.partition("//")
    if separator:
        authority, slash, path = rest.partition("/")
        userinfo, _, host = authority.rpartition("@")
        head = f"{scheme}//{MASK}@{host}{slash}{path}" if userinfo else head
    return f"{head}{mark}{_masked_params(tail)}"


def secrets_of(request: HttpRequest) -> tuple[str, ...]:
    """Every secret value in a request: declared, or in a known parameter, header or basic auth."""
    found = [value for name, value in request.params.items() if _names_secret(name)]
    for name, value in request.headers.items():
        if name.lower() in _SECRET_HEADERS:
            found += [value, value.rpartition(" ")[2]]
    if request.basic_auth is not None:
        found += [request.basic_auth[1], basic_token(*request.basic_auth)]
    guessed = [value for value in found if len(value) >= SECRET_CHARS_MIN]
    return tuple(dict.fromkeys(value for value in (*request.secrets, *guessed) if value))


def basic_token(user: str, password: str) -> str:
    """The token after ``Basic `` in an Authorization header."""
    return base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _names_secret(name: str) -> bool:
    return unquote_plus(name).strip().lower() in SECRET_PARAMS


def _masked_param(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    return f"{mark}{name}={MASK}" if value and _names_secret(name) else match[0]


def _masked_params(text: str) -> str:
    return _IN_TEXT.sub(_masked_param, "&" + text)[1:]


def _split_query(text: str) -> tuple[str, str, str]:
    mark = re.search(r"[?#]", text)
    if mark is None:
        return text, "", ""
    return text[: mark.start()], mark[0], text[mark.end() :]
