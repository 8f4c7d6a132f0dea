"""Query parameters that track a visitor's origin and never select a page.

The list is exact, because a prefix would match real parameters (``pk_id`` is often a primary key,
``utm_zone`` a coordinate). Sources: Google Analytics help, "URL builders" (``utm_…``); Matomo's
guide, "campaign tracking" (``mtm_…``, ``pk_…``, ``piwik_…``, ``matomo_…``); HubSpot's knowledge
base, "ads tracking" (``hsa_…``, ``_hs…``); the vendors' pages on click identifiers; AMP's
documentation of cache URLs (``amp_…``, ``usqp``). Google adds ``srsltid`` to its results. AdGuard's
list of tracking parameters (filter_17_TrackParam) and the survey of the most used ones
(Kees1958/W3C_annual_most_used_survey_blocklist) contain most of them.
"""

from itertools import product

_UTM = frozenset(
    f"utm_{name}"
    for name in (
        "source", "medium", "campaign", "term", "content", "id", "source_platform",
        "creative_format", "marketing_tactic",
        # Widely used, but not Google's.
        "name", "cid", "reader", "referrer", "pubreferrer", "swu", "viz_id", "social",
        "social-type", "brand", "place", "keyword", "campaignid", "adgroup", "ad", "adid",
        "channel", "affiliate", "userid", "session", "emcid", "emmid", "umguk", "siteid",
        "supplier", "serial", "product", "placement", "network", "device", "creative", "matchtype",
    )
)  # fmt: skip
_MATOMO = frozenset(
    f"{prefix}_{name}"
    for prefix, name in product(
        ("mtm", "matomo", "pk", "piwik"),
        (
            "campaign", "cpn", "keyword", "kwd", "source", "medium", "content", "cid", "group",
            "placement",
        ),
    )
)  # fmt: skip
_HUBSPOT = frozenset(
    f"hsa_{name}"
    for name in ("acc", "ad", "cam", "grp", "kw", "la", "mt", "net", "ol", "src", "tgt", "ver")
) | {"_hsenc", "_hsmi"}
_CLICKS = frozenset(
    {"_ga", "_gac", "_gl", "_openstat", "dclid", "epik", "fbclid"}
    | {"gad_campaignid", "gad_source", "gbraid", "gclid", "gclsrc", "gs_lcrp", "igsh", "igshid"}
    | {"li_fat_id", "mc_cid", "mc_eid", "mibextid", "mkt_tok", "ml_subscriber", "msclkid"}
    | {"ml_subscriber_hash", "oly_anon_id", "oly_enc_id", "rb_clickid", "s_cid", "srsltid"}
    | {"ttclid", "twclid", "vero_id", "wbraid", "wickedid", "yclid", "ysclid"}
)
_AMP = frozenset({"amp_gsa", "amp_js_v", "amp_kit", "amp_r", "amp_tf", "ampshare", "usqp"})

TRACKERS = _UTM | _MATOMO | _HUBSPOT | _CLICKS | _AMP


def is_tracker(name: str) -> bool:
    """Whether a parameter of that name (in any case) only tracks."""
    return name.casefold() in TRACKERS
