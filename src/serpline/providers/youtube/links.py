"""Finds web addresses in a channel's description.

Promise: addresses as written (``https://…`` or a bare host name), in order, each once, in time
linear in the text's length. Limits: at most ``LINKS_MAX``; a bare name needs a common top-level
domain in lower case, so that "the end.In short" is no link; mail addresses do not count. The caller
judges whose an address is.
"""

import re

LINKS_MAX = 50
_TEXT_CHARS_MAX = 20_000

_COMMON = (
    "com|org|net|io|ai|co|tv|app|dev|info|biz|shop|store|travel|agency|media|news|blog|online|site"
    "|eu|uk|de|fr|es|it|nl|be|pl|cz|se|no|dk|fi|ch|at|pt|gr|tr|ru|ua|ca|us|au|nz|in|jp|kr|cn|br|mx"
    "|za|ae|il|sg|id"
)
# Only ASCII letters bound a bare name: many scripts put no space around it.
_LINK = re.compile(
    r"[Hh][Tt][Tt][Pp][Ss]?://[^\s<>\"'`|\\^{}]{3,500}"
    r"|(?<![A-Za-z0-9_@./-])"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,4}(?:" + _COMMON + r")"
    r"(?![A-Za-z0-9_@-])(?!\.[A-Za-z0-9])"
    r"(?:/[^\s<>\"'`|\\^{}]{0,400})?"
)
_SCHEME = re.compile("https?://", re.IGNORECASE)
_TRAILING = ".,;:!?)]}>»”’*…"


def find_links(*texts: str | None) -> tuple[str, ...]:
    """The addresses in ``texts``, in order of appearance."""
    found: dict[str, None] = {}
    for text in texts:
        for match in _LINK.finditer((text or "")[:_TEXT_CHARS_MAX]):
            link = match[0].rstrip(_TRAILING)
            if "." in _SCHEME.sub("", link):
                found.setdefault(link)
            if len(found) == LINKS_MAX:
                return tuple(found)
    return tuple(found)
