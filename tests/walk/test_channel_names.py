"""A channel owns a result, whichever form of its URL is used."""

from pathlib import Path

from harness.world import open_world

KEYWORDS = "\n".join(["keyword,market", *(f"coffee {n},US" for n in range(8))]).encode()
LIST = "PLabcdefghijklmnop"


async def test_user_names_and_playlists_lead_to_their_channel(
    database_url: str, tmp_path: Path
) -> None:
    """One call per name and one for all playlists give the owners of the same channels.

    No result page of the simulator links to a channel, so the collected URLs are rewritten.
    """
    async with open_world(database_url, tmp_path, KEYWORDS) as world:
        await world.start_worker()
        first = await world.run(
            phases=("keyword_metrics", "serp_collection"), content_types=("video",)
        )
        videos = world.sim.world.videos
        named = videos.channel(3)
        made = videos.find_list_owner(LIST)
        assert made is not None
        for keyword, ref in ((1, f"user/{named.username}"), (2, LIST), (3, "user/nosuchname")):
            await world.query(
                "UPDATE serp_results SET video_id = NULL, channel_ref = :ref WHERE run_id = :run"
                " AND keyword_id = :keyword RETURNING 1",
                run=first,
                keyword=keyword,
                ref=ref,
            )
        run_id = await world.run(
            phases=("company_enrichment_serp", "youtube_enrichment", "company_enrichment_youtube"),
            content_types=("video",),
            inputs_from=first,
        )
        refs = await world.query(
            "SELECT ref, channel_id FROM youtube_channel_refs WHERE run_id = :run", run=run_id
        )
        assert {row["ref"]: row["channel_id"] for row in refs} == {
            f"user/{named.username}": named.id,
            LIST: made.id,
        }
        owners = await world.query(
            "SELECT channel_id, domain FROM channel_owners WHERE run_id = :run", run=run_id
        )
        domains = {row["channel_id"]: row["domain"] for row in owners}
        for channel in (named, made):
            assert domains[channel.id] == (channel.owner.domain if channel.owner else None)
        names = [e for e in world.sim.log.of("youtube", "channels") if "forUsername" in e.params]
        assert len(names) == 2
        assert len(world.sim.log.of("youtube", "playlists")) == 1
