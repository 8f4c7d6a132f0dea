"""Functions of the database over a provider's pace: its rate now, its slots, its shared places."""

from typing import Final

# What lies further ahead than it was written to lie was written before the server's clock was set
# back: from then on it lies so far ahead again, and what was to be past is now.
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
    IF pace.tokens_at > at + spare THEN
        pace.tokens_at := at;
    END IF;
    RETURN pace;
END $$
"""

# A 429 halves the rate and notes where it happened. From there the rate climbs back within 5 s to
# 95 % of that ceiling, and then creeps upwards by 0.2 % a second, to find out whether the provider
# has become generous again. A ceiling the provider insists on is therefore met from below nearly
# all the time. One that it has not insisted on for 30 s was a storm's: the rate then doubles every
# 5 s until it is the configured one. Recovery follows from the time alone, so it costs no write.
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

# No slot is given further ahead than the horizon after now or after a pause, and the next one
# follows it by one gap at the least rate (a 64th). What stands further ahead was written before the
# server's clock was set back: it is forgotten.
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

# Half the floor is there at the start; time earns as much a minute, a first attempt its share.
_RETRY_TOKENS: Final = """
CREATE FUNCTION provider_retry_tokens(pace provider_rates, policy jsonb, firsts int, at timestamptz)
RETURNS float8 LANGUAGE sql IMMUTABLE AS $$
    SELECT least((policy ->> 'tokens_max')::float8,
        coalesce(pace.retry_tokens, (policy ->> 'retry_floor')::float8 / 2)
        + (policy ->> 'retry_share')::float8 * firsts
        + greatest(0, coalesce(extract(epoch FROM at - pace.tokens_at), 0))
            * (policy ->> 'retry_floor')::float8 / 120)
$$
"""

# A call that was under way when the rate was halved tells nothing new; it may only lengthen the
# pause. A pause in force that is longer stays as it is.
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

# Who wants less than an even share gets it, and the rest is shared evenly among the others. Where
# that leaves a remainder, or more holders than places, the turn goes round once a lease's time.
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
