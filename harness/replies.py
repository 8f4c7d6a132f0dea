"""Reply documents of every provider, each with the call that reads it.

Tests and chaos mutate them. Unmutated, each is a valid answer.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serpline.core.clock import SystemClock
from serpline.domain.http import HttpReply, ProviderCall
from serpline.domain.names import ContentType
from serpline.providers.dataforseo.client import DataForSeoClient
from serpline.providers.llm.client import LlmClient
from serpline.providers.pdl.client import PdlClient
from serpline.providers.scaleserp.batches import ResultSet
from serpline.providers.scaleserp.client import ScaleSerpClient
from serpline.providers.scaleserp.spec import BatchSearch, SearchSpec
from serpline.providers.wikidata.client import WikidataClient
from serpline.providers.youtube.client import YouTubeClient

TESTS = Path(__file__).parents[1] / "tests"
DOCUMENTS = TESTS / "contract" / "providers" / "documents"
KEY = "k3y-nobody-may-see"
CLOCK = SystemClock()
scaleserp = ScaleSerpClient("https://api.scaleserp.com", KEY, CLOCK)
dataforseo = DataForSeoClient("https://api.dataforseo.com", "me", KEY, CLOCK)
llm = LlmClient("https://api.openai.com", KEY, "m", CLOCK)

CAPTURED = json.loads((TESTS / "data" / "scaleserp_search_web_2025.json").read_bytes())
INFO = {"success": True, "credits_used_this_request": 1, "message": KEY}
BATCH = {
    "id": "B1", "name": "n", "status": "idle", "searches_total_count": 2, "results_count": 1,
    "next_result_set_id": 2, "credits_required": 2, "created_at": "2026-01-01T00:00:00.000Z",
}  # fmt: skip
LINKS = ["https://f.example/Batch_Results_B1_4_Page_2.json", "https://f.example/x_Page_1.json"]
SET = {
    "id": 4, "started_at": "a", "results_page_count": 2, "searches_total": 2,
    "download_links": {"pages": LINKS, "all_pages": "https://f.example/z.zip"},
}  # fmt: skip
NEWS = {"position": 1, "link": "https://n.example/a", "date_utc": "2026-03-01", "source": "N"}
PAGE = {
    "request_info": INFO,
    "search_parameters": {"q": "x", "page": "2"},
    "search_information": {"total_results": 5, "original_query_yields_zero_results": False},
    "organic_results": [{"position": 1, "link": "https://a.example/", "page": 2}, NEWS],
    "news_results": [NEWS],
    "video_results": [NEWS | {"length": "1:00"}],
    "pagination": {"other_pages": {"3": "https://g.example/3"}},
}
RECORDS = [
    {"id": "1", "success": True, "result": PAGE, "search": {"q": "x", "custom_id": "a"}},
    {"id": "2", "success": False, "result": {"request_info": {"success": False, "message": KEY}}},
]
METRICS = {
    "status_code": 20000,
    "cost": 0.09,
    "tasks": [
        {
            "status_code": 20000,
            "status_message": KEY,
            "cost": 0.09,
            "result": [
                {
                    "keyword": "buy laptop", "spell": "buy laptops", "search_volume": 10,
                    "cpc": 1.5, "competition_index": 5,
                    "monthly_searches": [{"year": 2026, "month": 1}],
                }
            ],
        }
    ],
}  # fmt: skip
ANALYSIS = {
    "page_state": "content", "relevance": {"k1": 0.5, "k2": 1}, "sentiment": "mixed",
    "topics": ["a"], "brands": [], "summary": "s", "content_kind": "other",
}  # fmt: skip
OWNER = {"company": "Acme  Boats", "domain": " acme.com "}
MESSAGE = {"role": "assistant", "content": json.dumps(ANALYSIS), "refusal": None}
COMPLETION: dict[str, Any] = {
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    "error": None,
}
FOUND = scaleserp.result_set("B1", 4).parse(
    HttpReply(200, {}, json.dumps({"result": SET}).encode())
)
assert isinstance(FOUND, ResultSet)

CASES: dict[str, tuple[ProviderCall[Any], Any]] = {
    "search": (scaleserp.search(SearchSpec("x")), PAGE),
    "captured": (scaleserp.search(SearchSpec("x")), CAPTURED),
    "video": (scaleserp.search(SearchSpec("x", ContentType.VIDEO)), PAGE),
    "create": (scaleserp.create_batch("n", "web"), {"request_info": INFO, "batch": BATCH}),
    "find": (scaleserp.find_batch_by_name("n"), {"request_info": INFO, "batches": [BATCH, BATCH]}),
    "add": (
        scaleserp.add_searches("B1", [BatchSearch("a", SearchSpec("x"))]),
        {"request_info": INFO, "batch": BATCH},
    ),
    "searches": (
        scaleserp.searches_page("B1", 1),
        {"searches_page_current": 1, "searches": [{"id": "1", "custom_id": "a"}]},
    ),
    "start": (scaleserp.start("B1", credits_required=2), {"request_info": INFO}),
    "results": (scaleserp.results("B1"), {"batch_id": "B1", "results": [SET, SET]}),
    "result_set": (scaleserp.result_set("B1", 4), {"batch_id": "B1", "result": SET}),
    "page_file": (scaleserp.page_file(FOUND, 1), RECORDS),
    "account": (scaleserp.account(), {"account_info": {"credits_remaining": 5}}),
    "search_volume": (dataforseo.search_volume(["Buy Laptop", "x"], 2840, "en"), METRICS),
    "owner": (
        llm.channel_owner("Acme TV", "@acme", "Boats.", "GB"),
        {**COMPLETION, "choices": [{"message": {**MESSAGE, "content": json.dumps(OWNER)}}]},
    ),
    "analyse": (llm.analyse_page("u", "t", "x", ["k", "l"], "en"), COMPLETION),
}

PDL = PdlClient(base_url="http://x", api_key="k", now=lambda: datetime(2026, 3, 1, tzinfo=UTC))
WIKIDATA = WikidataClient(
    base_url="http://x", contact="c", now=lambda: datetime(2026, 3, 1, tzinfo=UTC)
)
YOUTUBE = YouTubeClient(
    base_url="http://x", api_key="k", now=lambda: datetime(2026, 3, 1, tzinfo=UTC)
)
CHANNEL_IDS = ["UCnorthwindnorthwindnor0", "UChiddenhiddenhiddenhid1"]

SUBJECTS: dict[str, tuple[str, ProviderCall[Any]]] = {
    "pdl": ("pdl_company.json", PDL.enrich("northwind.com")),
    "wikidata": (
        "wikidata_companies.json",
        WIKIDATA.companies_by_domains(["northwind.com", "fabrikam.org"], ["de"])[0],
    ),
    "videos": ("youtube_videos.json", YOUTUBE.videos(["aaaaaaaaaa1", "bbbbbbbbbb2"])),
    "channels": ("youtube_channels.json", YOUTUBE.channels(CHANNEL_IDS)),
    "playlists": (
        "youtube_playlists.json",
        YOUTUBE.playlists(["PLnorthwind0", "PLfabrikam01"]),
    ),
    "handle": ("youtube_channels.json", YOUTUBE.channel_by_handle("@northwind")),
    "search": ("youtube_search.json", YOUTUBE.search("x")),
}
