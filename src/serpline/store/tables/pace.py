"""Database functions over a provider's pace: its current rate, its slots, its concurrent calls."""

from typing import Final

# A time further ahead than its stored wait was written before the server's clock was set back. It
# is reset to its full wait from now; a time that should be past becomes now.
_IN_TIME: Final = """
CREATE FUNCTION pace_in_time(pace provider_rates, at timestamptz) RETURNS provider_rates
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    latest timestamptz := at + make_interval(secs => coalesce(pace.pause_seconds, 0));
    spare interval := interval '5 seconds';
BEGIN
    IF pace.paused_until > latest + spare THEN
        pace.paused_until := latest;
    END IF;
    IF pace.penalised_at > latest + spare THEN
        pace.penalised_at := latest;
    END IF;
    RETURN pace;
END $$
"""

# A 429 halves the rate and stores the rate at which it happened (the ceiling). The rate climbs to
# 95 % of the ceiling within 5 s, then by 0.2 % of it a second, to test whether the provider allows
# more. So it stays just below a real ceiling nearly all the time. After 30 s without a 429 the
# ceiling was temporary: the rate doubles every 5 s up to the configured one. The rate is a function
# of time, so recovery needs no write.
_RATE_NOW: Final = """
CREATE FUNCTION provider_rate_now(pace provider_rates, rate_max float8, at timestamptz)
RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    elapsed float8 := greatest(0, extract(epoch FROM at - pace.penalised_at));
    knee float8 := 0.95 * pace.ceiling_rate;
    rate float8;
BEGIN
    IF pace.penalised_at IS NULL OR pace.penalised_rate IS NULL OR pace.ceiling_rate IS NULL THEN
        RETURN rate_max;
    END IF;
    IF elapsed < 5 THEN
        rate := pace.penalised_rate + (knee - pace.penalised_rate) * elapsed / 5;
    ELSE
        rate := knee + pace.ceiling_rate * 0.002 * (elapsed - 5);
        rate := rate * 2 ^ least(greatest(0, elapsed - 35) / 5, 16);
    END IF;
    RETURN least(rate_max, rate);
END $$
"""

# No slot is given further ahead than the horizon after now or a pause. The next slot follows by one
# gap, which is 64 times as long at the lowest rate. A slot further ahead was written before the
# server's clock was set back, and is ignored.
_FIRST_SLOT: Final = """
CREATE FUNCTION provider_first_slot(
    pace provider_rates, gap interval, horizon interval, at timestamptz
) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(
        CASE WHEN pace.next_slot_at <= greatest(at, pace.paused_until) + horizon + 64 * gap
            THEN pace.next_slot_at END,
        at - interval '100 milliseconds', pace.paused_until)
$$
"""

# The tokens that have become of ``tokens`` since ``tokens_at``: each minute adds half the floor.
_RETRY_TOKENS: Final = """
CREATE FUNCTION provider_retry_tokens(
    tokens float8, tokens_at timestamptz, policy jsonb, at timestamptz
) RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
    SELECT least((policy ->> 'tokens_max')::float8,
        tokens + greatest(0, extract(epoch FROM at - tokens_at))
            * (policy ->> 'retry_floor')::float8 / 120)
$$
"""

# A 429 to a call that started before the last halving may only lengthen the pause. A longer pause
# in force stays.
_PENALISE: Final = """
CREATE FUNCTION penalise_provider(
    _provider text, rate_max float8, started_at timestamptz, pause_seconds float8,
    _at timestamptz DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    pace provider_rates;
    at timestamptz;
    until timestamptz;
    rate float8;
BEGIN
    INSERT INTO provider_rates (provider) VALUES (_provider) ON CONFLICT DO NOTHING;
    SELECT * INTO pace FROM provider_rates WHERE provider = _provider FOR UPDATE;
    at := coalesce(_at, clock_timestamp());
    pace := pace_in_time(pace, at);
    until := at + make_interval(secs => pause_seconds);
    rate := provider_rate_now(pace, rate_max, at);
    IF pace.penalised_at IS NOT NULL AND started_at <= pace.penalised_at THEN
        pace.penalised_at := greatest(pace.penalised_at, until);
    ELSE
        pace.penalised_at := until;
        pace.penalised_rate := greatest(rate / 2, rate_max / 64);
        pace.ceiling_rate := rate;
    END IF;
    IF pace.paused_until IS NULL OR pace.paused_until < until THEN
        pace.paused_until := until;
        pace.pause_seconds := pause_seconds;
        pace.pause_reason := 'the provider asked to wait (429)';
    END IF;
    UPDATE provider_rates SET paused_until = pace.paused_until,
        pause_seconds = pace.pause_seconds, pause_reason = pace.pause_reason,
        penalised_at = pace.penalised_at, penalised_rate = pace.penalised_rate,
        ceiling_rate = pace.ceiling_rate
    WHERE provider = _provider;
END $$
"""

# A holder that wants less than an even share gets what it wants; the others share the rest evenly.
# A remainder, or a lack of places, rotates among the holders once per lease.
_LEASE: Final = """
CREATE FUNCTION lease_places(
    _provider text, _holder uuid, _wanted int, _in_use int, places int, lease_seconds float8
) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    turn bigint := floor(extract(epoch FROM clock_timestamp()) / lease_seconds);
    claim record;
    remaining int := places;
    others_hold int;
    allowed int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(7235, hashtext(_provider));
    DELETE FROM provider_leases WHERE provider = _provider
        AND (expires_at <= clock_timestamp() OR (holder = _holder AND _wanted + _in_use = 0));
    IF _wanted + _in_use = 0 THEN
        RETURN 0;
    END IF;
    FOR claim IN
        WITH claims AS (
            SELECT holder, wanted FROM provider_leases
            WHERE provider = _provider AND holder <> _holder
            UNION ALL SELECT _holder, _wanted
        ), ranked AS (
            SELECT holder, wanted, count(*) OVER () AS n,
                row_number() OVER (ORDER BY holder) + turn AS rank FROM claims
        )
        SELECT holder, wanted, n - row_number() OVER (ORDER BY wanted, rank % n) + 1 AS behind
        FROM ranked ORDER BY wanted, rank % n
    LOOP
        IF claim.holder = _holder THEN
            allowed := least(_wanted, remaining / claim.behind);
        END IF;
        remaining := remaining - least(claim.wanted, remaining / claim.behind);
    END LOOP;
    SELECT coalesce(sum(slots), 0) INTO others_hold FROM provider_leases
        WHERE provider = _provider AND holder <> _holder;
    allowed := least(allowed, greatest(0, places - others_hold));
    INSERT INTO provider_leases (provider, holder, slots, wanted, expires_at)
    VALUES (_provider, _holder, greatest(_in_use, allowed), _wanted,
        clock_timestamp() + make_interval(secs => lease_seconds))
    ON CONFLICT (provider, holder) DO UPDATE
    SET slots = excluded.slots, wanted = excluded.wanted, expires_at = excluded.expires_at;
    RETURN allowed;
END $$
"""

FUNCTIONS: Final = (_IN_TIME, _RATE_NOW, _FIRST_SLOT, _RETRY_TOKENS, _PENALISE, _LEASE)
