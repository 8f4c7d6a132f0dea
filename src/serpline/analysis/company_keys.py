"""The name of a company in figures."""

from serpline.analysis.domains import registrable_domain, youtube_channel_ref, youtube_video_id
from serpline.analysis.youtube_urls import is_page_of_unnamed_channel
from serpline.domain.companies import CHANNEL_ADDRESS
from serpline.domain.errors import UserError


def company_key(given: str) -> str:
    """Return the name that figures use: the registrable domain, or a YouTube channel's address.

    ``given`` is a domain, or a URL of the domain or channel. Raises ``UserError`` otherwise.
    """
    channel = youtube_channel_ref(given)
    if channel is not None and channel.startswith("UC"):
        return f"{CHANNEL_ADDRESS}{channel}"
    if channel or youtube_video_id(given) or is_page_of_unnamed_channel(given):
        raise UserError(f"company {given!r}: write a channel as {CHANNEL_ADDRESS}UC…")
    domain = registrable_domain(given)
    if not domain or "." not in domain:
        raise UserError(f"domain {given!r}: must be a domain such as example.com")
    return domain
