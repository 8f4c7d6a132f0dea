"""Results that a run collected and computed. Every row belongs to one run.

NULL means "not known": an unknown volume is NULL, never 0.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from serpline.domain.names import EmptyKind
from serpline.store.tables.base import Instant, metadata, one_of


def _run() -> Column[object]:
    return Column(
        "run_id",
        Uuid,
        ForeignKey("pipeline_executions.id", ondelete="CASCADE"),
        primary_key=True,
    )


keyword_metrics = Table(
    "keyword_metrics",
    metadata,
    _run(),
    Column("keyword_id", BigInteger, primary_key=True),
    Column("market", Text, primary_key=True),
    Column("search_volume", BigInteger),
    Column("cpc", Float),
    Column("competition", Text),
    Column("competition_index", Integer),
    Column("monthly_searches", JSONB),
    # Why the volume is not known.
    Column("unknown_reason", Text),
    Column("source", Text, nullable=False),
    Column("fetched_at", Instant, nullable=False),
    CheckConstraint("search_volume >= 0", name="search_volume"),
    # For the newest volume of a keyword.
    Index("ix_keyword_metrics_newest", "keyword_id", "market", "fetched_at"),
)

# A row means "collected", with or without results. No row means "not collected".
serps = Table(
    "serps",
    metadata,
    _run(),
    Column("content_type", Text, primary_key=True),
    Column("keyword_id", BigInteger, primary_key=True),
    Column("market", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("collected_at", Instant, nullable=False),
    Column("results", Integer, nullable=False),
    Column("total_results", BigInteger),
    # NULL: the search did not ask for AI overviews.
    Column("ai_overview", Boolean),
    Column("source", Text, nullable=False),
    # For the date of a run's results. An expression, because any index that begins with the run
    # may seem as good for the foreign key of ``serp_results``, and would read the whole lane.
    Index("ix_serps_collected_at", text("(CAST(run_id AS text) || content_type)"), "collected_at"),
)

serp_results = Table(
    "serp_results",
    metadata,
    Column("run_id", Uuid, primary_key=True),
    Column("content_type", Text, primary_key=True),
    Column("keyword_id", BigInteger, primary_key=True),
    Column("market", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("rank", Integer, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("block_position", Integer),
    Column("url", Text, nullable=False),
    Column("canonical_url", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("snippet", Text),
    Column("published_at", Text),
    Column("source", Text),
    Column("video_id", Text),
    Column("channel_ref", Text),
    ForeignKeyConstraint(
        ["run_id", "content_type", "keyword_id", "market", "device"],
        [
            "serps.run_id",
            "serps.content_type",
            "serps.keyword_id",
            "serps.market",
            "serps.device",
        ],
        name="fk_serp_results_serps",
        ondelete="CASCADE",
    ),
    Index("ix_serp_results_domain", "run_id", "content_type", "domain"),
    # A hash of the lane and subject (``runs.plans.SUBJECT_OF_LANE``): a URL may be too long for an
    # index.
    Index(
        "ix_serp_results_subject",
        text(
            "hashtextextended(CAST(run_id AS text) || content_type || CASE WHEN video_id IS NOT"
            " NULL THEN 'v:' || video_id ELSE 'u:' || canonical_url END, 0)"
        ),
    ),
)

company_profiles = Table(
    "company_profiles",
    metadata,
    _run(),
    Column("domain", Text, primary_key=True),
    # False: the source does not know the domain. No row: no source was asked.
    Column("found", Boolean, nullable=False),
    # Name, industry and country as the source writes them. The columns below them are derived, and
    # NULL where the standard has no such value (``phases.companies``).
    Column("name", Text),
    Column("industry", Text),
    Column("country", Text),
    Column("display_name", Text),
    # LinkedIn's Industry Codes V2: code, name, and the name of the group above it.
    Column("industry_code", Integer),
    Column("industry_name", Text),
    Column("industry_group", Text),
    # ISO 3166-1 alpha-2.
    Column("country_code", Text),
    Column("employee_count", BigInteger),
    # A range of employees, as the source writes it: 51-200, 10001+.
    Column("size", Text),
    Column("founded", Integer),
    Column("linkedin_url", Text),
    Column("ticker", Text),
    Column("parent", Text),
    Column("source", Text, nullable=False),
    Column("fetched_at", Instant, nullable=False),
    # For the newest profile of a company.
    Index("ix_company_profiles_newest", "domain", "fetched_at"),
)

youtube_videos = Table(
    "youtube_videos",
    metadata,
    _run(),
    Column("video_id", Text, primary_key=True),
    Column("found", Boolean, nullable=False),
    Column("channel_id", Text),
    Column("title", Text),
    Column("description", Text),
    Column("published_at", Text),
    Column("duration_seconds", Integer),
    Column("views", BigInteger),
    Column("likes", BigInteger),
    Column("comments", BigInteger),
    Column("fetched_at", Instant, nullable=False),
)

youtube_channels = Table(
    "youtube_channels",
    metadata,
    _run(),
    Column("channel_id", Text, primary_key=True),
    Column("found", Boolean, nullable=False),
    Column("handle", Text),
    Column("title", Text),
    Column("description", Text),
    Column("country", Text),
    Column("subscribers", BigInteger),
    Column("views", BigInteger),
    Column("videos", BigInteger),
    Column("links", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("fetched_at", Instant, nullable=False),
)

# The channel behind each reference in a result's URL (``serp_results.channel_ref``).
youtube_channel_refs = Table(
    "youtube_channel_refs",
    metadata,
    _run(),
    Column("ref", Text, primary_key=True),
    Column("channel_id", Text, nullable=False),
)

channel_owners = Table(
    "channel_owners",
    metadata,
    _run(),
    Column("channel_id", Text, primary_key=True),
    # NULL: no owner was found; the channel then counts as a company itself.
    Column("domain", Text),
    Column("method", Text, nullable=False),
)

# A row means that the subject was fetched. With ``empty_kind`` it has no content and no relevance;
# ``model`` is then set if the model found that. ``relevance``: the mean over ``judged_for``, a list
# of ``{keyword, relevance}`` for the searches of the market in which the subject ranks.
content_analyses = Table(
    "content_analyses",
    metadata,
    _run(),
    Column("content_type", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("market", Text, primary_key=True),
    Column("empty_kind", Text),
    Column("relevance", Float),
    Column("judged_for", JSONB, nullable=False),
    Column("sentiment", Text),
    Column("content_kind", Text),
    Column("topics", ARRAY(Text), nullable=False),
    Column("brands", ARRAY(Text), nullable=False),
    Column("summary", Text),
    # The model that answered, and the name and digest of its prompt.
    Column("model", Text),
    Column("prompt", Text),
    # When the oldest of the relevances was scored.
    Column("fetched_at", Instant, nullable=False),
    CheckConstraint("relevance BETWEEN 0 AND 1", name="relevance"),
    CheckConstraint(
        "CASE WHEN empty_kind IS NULL THEN num_nulls(relevance, sentiment, content_kind, summary,"
        " model) = 0 ELSE num_nonnulls(relevance, sentiment, content_kind, summary) = 0 END",
        name="whole_or_empty",
    ),
    CheckConstraint("num_nulls(model, prompt) <> 1", name="prompt"),
    one_of("empty_kind", EmptyKind),
    Index(
        "ix_content_analyses_empty",
        "run_id",
        "content_type",
        "empty_kind",
        postgresql_where=text("empty_kind IS NOT NULL"),
    ),
)

# Every component is stored beside the figure, so that it can be recomputed by hand.
# The merged domains that the figures of a run and content type count as one company.
run_company_aliases = Table(
    "run_company_aliases",
    metadata,
    _run(),
    Column("content_type", Text, primary_key=True),
    Column("domain", Text, primary_key=True),
    Column("company", Text, nullable=False),
)

dsi_scores = Table(
    "dsi_scores",
    metadata,
    _run(),
    Column("content_type", Text, primary_key=True),
    Column("market", Text, primary_key=True),
    Column("device", Text, primary_key=True),
    Column("company", Text, primary_key=True),
    Column("dsi", Float),
    # ``complete``, or what is unknown (``analysis.completeness``).
    Column("completeness", Text, nullable=False),
    Column("coverage", Float, nullable=False),
    Column("keywords_ranked", Integer, nullable=False),
    Column("keywords_collected", Integer, nullable=False),
    Column("keywords_planned", Integer, nullable=False),
    Column("traffic_share", Float),
    Column("traffic", Float),
    Column("traffic_total", Float),
    Column("share_unweighted", Float),
    Column("relevance", Float),
    Column("relevance_basis", Integer, nullable=False),
    Column("results", Integer, nullable=False),
    Column("unknown_volume_keywords", Integer, nullable=False),
    Column("unknown_ai_overview_keywords", Integer, nullable=False),
    Column("unanalysed_results", Integer, nullable=False),
    Column("curve", Text, nullable=False),
    Column("curve_version", Integer, nullable=False),
    Column("proxy", Boolean, nullable=False),
    # A list: for each content type in the figure, the run that collected it, and when.
    Column("sources", JSONB, nullable=False, server_default=text("'[]'::jsonb")),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("ix_dsi_scores_company", "company", "content_type"),
)
