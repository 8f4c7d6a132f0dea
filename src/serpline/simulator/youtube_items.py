"""Resources of the YouTube Data API in their wire format."""

from typing import Any

from serpline.simulator.seeds import stamp
from serpline.simulator.world.videos import Channel, Video


def envelope(kind: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """The list response around ``items``."""
    return {
        "kind": kind,
        "etag": f"{stamp(kind, len(items)):x}",
        "pageInfo": {"totalResults": len(items), "resultsPerPage": len(items)},
        "items": items,
    }


def _chosen(kind: str, key: str, parts: list[str], known: dict[str, Any]) -> dict[str, Any]:
    shown = {part: known[part] for part in parts if part in known}
    return {"kind": kind, "etag": f"{stamp(kind, key):x}", "id": key, **shown}


def video_item(video: Video, parts: list[str]) -> dict[str, Any]:
    """A video with the requested parts. Counts are strings and may be absent."""
    minutes, seconds = divmod(video.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    optional = (("likeCount", video.likes), ("commentCount", video.comments))
    return _chosen(
        "youtube#video",
        video.id,
        parts,
        {
            "snippet": {
                "publishedAt": video.published_at,
                "channelId": video.channel.id,
                "title": video.title,
                "description": video.description,
                "channelTitle": video.channel.title,
                "tags": video.title.lower().split()[:5],
                "categoryId": "19",
                "liveBroadcastContent": "none",
            },
            "statistics": {
                "viewCount": str(video.views),
                "favoriteCount": "0",
                **{name: str(count) for name, count in optional if count is not None},
            },
            "contentDetails": {
                "duration": "PT" + (f"{hours}H" if hours else "") + f"{minutes}M{seconds}S",
                "definition": "hd",
                "caption": "false",
            },
            "status": {"privacyStatus": "public", "embeddable": True},
        },
    )


def playlist_item(key: str, owner: Channel, parts: list[str]) -> dict[str, Any]:
    """A channel's playlist with the requested parts."""
    snippet = {
        "publishedAt": owner.published_at,
        "channelId": owner.id,
        "title": f"Best of {owner.title}",
        "description": "",
        "channelTitle": owner.title,
    }
    known = {"snippet": snippet, "status": {"privacyStatus": "public"}}
    return _chosen("youtube#playlist", key, parts, known)


def channel_item(channel: Channel, parts: list[str]) -> dict[str, Any]:
    """A channel with the requested parts."""
    subscribers = {} if channel.hidden else {"subscriberCount": str(channel.subscribers)}
    return _chosen(
        "youtube#channel",
        channel.id,
        parts,
        {
            "snippet": {
                "title": channel.title,
                "description": channel.description,
                "customUrl": channel.handle,
                "publishedAt": channel.published_at,
                "country": channel.country,
            },
            "statistics": {
                "viewCount": str(channel.views),
                "videoCount": str(channel.videos),
                "hiddenSubscriberCount": channel.hidden,
                **subscribers,
            },
            "brandingSettings": {
                "channel": {"title": channel.title, "description": channel.description}
            },
            "contentDetails": {"relatedPlaylists": {"uploads": "UU" + channel.id[2:]}},
            "status": {"privacyStatus": "public"},
        },
    )
