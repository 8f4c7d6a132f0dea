"""A team's project: markets, keywords, landscapes, marked companies."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Integer,
    Table,
    Text,
    text,
)

from serpline.store.tables.base import NOW, Instant, metadata

markets = Table(
    "markets",
    metadata,
    Column("code", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("gl", Text, nullable=False),
    Column("hl", Text, nullable=False),
    Column("google_domain", Text, nullable=False),
    Column("location", Text, nullable=False),
    # DataForSEO's codes; NULL where it has none.
    Column("location_code", Integer),
    Column("language_code", Text),
    Column("builtin", Boolean, nullable=False, server_default=text("false")),
)

keywords = Table(
    "keywords",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("keyword", Text, nullable=False),
    # NFC, case-folded, white space collapsed: equal for two spellings of one keyword.
    Column("folded", Text, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False, server_default=NOW),
    CheckConstraint("length(keyword) BETWEEN 1 AND 200", name="length"),
)

keyword_markets = Table(
    "keyword_markets",
    metadata,
    Column(
        "keyword_id",
        BigInteger,
        ForeignKey("keywords.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("market", Text, ForeignKey("markets.code"), primary_key=True),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
)

landscapes = Table(
    "landscapes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Instant, nullable=False, server_default=NOW),
)

landscape_keywords = Table(
    "landscape_keywords",
    metadata,
    Column("landscape", Text, ForeignKey("landscapes.name", ondelete="CASCADE"), primary_key=True),
    Column(
        "keyword_id",
        BigInteger,
        ForeignKey("keywords.id", ondelete="CASCADE"),
        primary_key=True,
    ),
)

companies = Table(
    "companies",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("relation", Text),
    # The name that a person gave; NULL: the source's.
    Column("name", Text),
    # The company that the domain counts as in figures computed from then on.
    Column("merged_into", Text),
    Column("merged_at", Instant),
    CheckConstraint("relation IN ('ours', 'competitor')", name="relation"),
    CheckConstraint("merged_into <> domain", name="merged_into"),
    CheckConstraint("(merged_into IS NULL) = (merged_at IS NULL)", name="merged"),
)
