"""Database functions that begin and end paid calls, each in one statement.

``admit_calls`` writes the intents of admitted calls. ``end_calls`` ends calls. ``charge_start``
writes what a provider spent by itself. They take locks in one order: rates by provider, then calls
by key, then budgets.

An admission request is a JSON object: a future row of ``provider_calls``, and ``content_type``,
``fresh_since``, ``third_party``, ``has_slot`` and ``scopes`` (name, limit).
"""

from typing import Final

# One row per request: the history of its key. A call whose caller died or was cancelled is no
# failure. Each subquery ends at the first matching row, so a batch's next poll costs the same after
# a hundred thousand polls, which share one key, as after one. Replies are searched only if the
# request may reuse one. (``LIMIT 1``, not ``EXISTS``: the planner may answer ``EXISTS`` with a hash
# of the whole table.)
_HISTORY: Final = """
CREATE FUNCTION call_history(requests jsonb, ids uuid[], OUT no int, OUT id uuid, OUT key bytea,
    OUT attempt int, OUT has_failed boolean, OUT is_written boolean, OUT is_in_flight boolean,
    OUT replied_at timestamptz
) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT w.no, w.id, w.key, coalesce(last.attempt, 0), coalesce(last.has_failed, false),
        written.id IS NOT NULL, flying.id IS NOT NULL, reply.finished_at
    FROM (
        SELECT ordinality::int AS no, (value ->> 'id')::uuid AS id,
            (value ->> 'key')::bytea AS key,
            (value ->> 'fresh_since')::timestamptz AS fresh_since
        FROM jsonb_array_elements(requests) WITH ORDINALITY
    ) AS w LEFT JOIN LATERAL (
        SELECT c.attempt, coalesce(c.error_category, 'internal') <> 'internal' AS has_failed
        FROM provider_calls c WHERE c.key = w.key ORDER BY c.attempt DESC LIMIT 1
    ) AS last ON true LEFT JOIN LATERAL (
        SELECT c.id FROM provider_calls c WHERE c.id = w.id AND c.key = w.key LIMIT 1
    ) AS written ON true LEFT JOIN LATERAL (
        SELECT c.id FROM provider_calls c WHERE c.key = w.key AND c.status = 'intent'
        AND c.shared AND c.id <> ALL(ids) LIMIT 1
    ) AS flying ON true LEFT JOIN LATERAL (
        SELECT c.finished_at FROM provider_calls c WHERE w.fresh_since IS NOT NULL
        AND c.key = w.key AND c.status = 'ok' AND c.finished_at >= w.fresh_since
        AND EXISTS (SELECT FROM raw_replies r WHERE r.call_id = c.id)
        ORDER BY c.attempt DESC LIMIT 1
    ) AS reply ON true
$$
"""

# Applies each provider's limits, under the lock of its row: retries first, then slots. A retry
# repeats a failed call. Polls, calls that a dead worker left unfinished, and calls that a third
# party failed do not count as failures: they say nothing about the provider, and a restart must not
# wait for tokens. Each content type has tokens of its own, so that failing news delay no retry of
# organic; an admitted first attempt adds its share to them. A slot that is due is used at once. A
# pause that began after a slot was given applies to it too.
_SLOTS: Final = """
CREATE FUNCTION reserve_slots(
    requests jsonb, policies jsonb, horizon interval, at timestamptz, ids uuid[]
) RETURNS TABLE (no int, answer text, wait float8, detail text, attempt int)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    pace provider_rates;
    stored provider_rates;
    policy jsonb;
    gap interval;
    slot timestamptz;
    -- The retry tokens of each of ``kinds``, and whether they have to be stored.
    kinds text[] := array(SELECT DISTINCT value ->> 'content_type'
        FROM jsonb_array_elements(requests) ORDER BY 1);
    tokens float8[];
    is_new boolean[];
    kind int;
    retry_share float8;
    retry_floor float8;
    tokens_max float8;
    is_paused boolean;
    is_retry boolean;
    asked int;
    later int;
    request record;
BEGIN
    FOR stored IN SELECT * FROM provider_rates WHERE policies ? provider ORDER BY provider LOOP
        pace := pace_in_time(stored, at);
        IF pace IS DISTINCT FROM stored THEN
            UPDATE provider_rates SET paused_until = pace.paused_until,
                penalised_at = pace.penalised_at
            WHERE provider = pace.provider;
        END IF;
        policy := policies -> pace.provider;
        gap := make_interval(
            secs => 1 / provider_rate_now(pace, (policy ->> 'rate')::float8, at));
        slot := provider_first_slot(pace, gap, horizon, at);
        retry_share := policy ->> 'retry_share';
        retry_floor := policy ->> 'retry_floor';
        tokens_max := policy ->> 'tokens_max';
        tokens := array(
            SELECT provider_retry_tokens(coalesce(r.tokens, retry_floor / 2),
                coalesce(r.tokens_at, at), policy, at)
            FROM unnest(kinds) WITH ORDINALITY AS k(content_type, n)
            LEFT JOIN provider_retries r
                ON r.provider = pace.provider AND r.content_type = k.content_type ORDER BY k.n);
        is_new := array_fill(false, ARRAY[cardinality(kinds)]);
        is_paused := coalesce(pace.paused_until > at, false);
        asked := 0; later := 0;
        FOR request IN
            SELECT h.*, e.value AS w FROM call_history(requests, ids) AS h
            JOIN jsonb_array_elements(requests) WITH ORDINALITY AS e(value, n) ON e.n = h.no
            WHERE e.value ->> 'provider' = pace.provider ORDER BY h.no
        LOOP
            no := request.no; attempt := request.attempt;
            answer := NULL; wait := NULL; detail := NULL;
            is_retry := request.has_failed AND NOT (request.w ->> 'third_party')::boolean;
            kind := array_position(kinds, request.w ->> 'content_type');
            IF request.is_written THEN
                answer := 'written';
            ELSIF request.replied_at >= (request.w ->> 'fresh_since')::timestamptz THEN
                answer := 'cached';
            ELSIF request.is_in_flight AND (request.w ->> 'shared')::boolean THEN
                answer := 'in_flight';
            ELSIF is_retry AND tokens[kind] < 1 THEN
                answer := 'retries';
                wait := least(60, greatest(1, (1 - tokens[kind]) * 120 / retry_floor));
                -- Tokens of a time in the future earn nothing: the clock was set back.
                is_new[kind] := true;
            ELSIF (request.w ->> 'has_slot')::boolean THEN
                IF is_paused THEN
                    answer := 'limited'; detail := pace.pause_reason;
                    wait := extract(epoch FROM pace.paused_until - at);
                END IF;
            ELSIF slot > at + horizon THEN
                answer := 'limited';
                detail := CASE WHEN is_paused THEN pace.pause_reason END;
                wait := extract(epoch FROM slot + gap * later - at
                    - CASE WHEN is_paused THEN interval '0' ELSE horizon / 2 END);
                later := later + 1;
            ELSE
                asked := asked + 1;
                IF slot > at THEN
                    answer := 'slot'; wait := extract(epoch FROM slot - at);
                END IF;
                slot := slot + gap;
            END IF;
            IF answer IS NULL THEN
                tokens[kind] := CASE WHEN is_retry THEN tokens[kind] - 1
                    ELSE least(tokens_max, tokens[kind] + retry_share) END;
                is_new[kind] := true;
            END IF;
            RETURN NEXT;
        END LOOP;
        IF asked > 0 THEN
            UPDATE provider_rates SET next_slot_at = slot WHERE provider = pace.provider;
        END IF;
        INSERT INTO provider_retries (provider, content_type, tokens, tokens_at)
            SELECT pace.provider, k.content_type, k.tokens, at
            FROM unnest(kinds, tokens, is_new) AS k(content_type, tokens, is_new) WHERE k.is_new
            ON CONFLICT (provider, content_type) DO UPDATE
            SET tokens = excluded.tokens, tokens_at = excluded.tokens_at;
    END LOOP;
END $$
"""

# The answers: "written" (an earlier try committed it), "cached" (a stored reply serves),
# "in_flight" (the same call is in flight), "retries" (too many), "limited", "slot" (a future one),
# "reserved" or "spent" (a budget), "admitted". Slots are checked late, so that a refused request
# uses none.
_ADMIT: Final = """
CREATE FUNCTION admit_calls(
    requests jsonb, policies jsonb, horizon interval, _at timestamptz DEFAULT NULL
) RETURNS TABLE (id uuid, answer text, wait_seconds float8, detail text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    ids uuid[] := array(SELECT (value ->> 'id')::uuid FROM jsonb_array_elements(requests));
    keys bytea[] := array(SELECT DISTINCT (value ->> 'key')::bytea
        FROM jsonb_array_elements(requests) ORDER BY 1);
    given text[] := array_fill(NULL::text, ARRAY[cardinality(ids)]);
    waits float8[] := array_fill(NULL::float8, ARRAY[cardinality(ids)]);
    details text[] := given;
    numbers int[] := array_fill(0, ARRAY[cardinality(ids)]);
    at timestamptz;
    written uuid[];
    short record;
BEGIN
    INSERT INTO provider_rates (provider) SELECT * FROM jsonb_object_keys(policies) ORDER BY 1
        ON CONFLICT DO NOTHING;
    PERFORM 1 FROM provider_rates WHERE policies ? provider ORDER BY provider FOR UPDATE;
    at := coalesce(_at, clock_timestamp());
    -- Intents whose owner is gone: possibly paid.
    PERFORM end_calls((
        SELECT jsonb_agg(to_jsonb(gone)
            || jsonb_build_object('status', 'unknown', 'finished_at', at))
        FROM (SELECT c.* FROM provider_calls c WHERE c.key = ANY(keys) AND c.status = 'intent'
            AND c.shared AND c.id <> ALL(ids) AND NOT EXISTS (SELECT 1 FROM chunks
                WHERE chunks.id = c.chunk_id AND chunks.epoch = c.epoch AND chunks.status = 'owned')
            ORDER BY c.key FOR UPDATE) AS gone));
    SELECT array_agg(s.answer ORDER BY s.no), array_agg(s.wait ORDER BY s.no),
        array_agg(s.detail ORDER BY s.no), array_agg(s.attempt ORDER BY s.no)
    INTO given, waits, details, numbers
    FROM reserve_slots(requests, policies, horizon, at, ids) AS s;
    FOR short IN SELECT * FROM budget_shortages((
        SELECT coalesce(jsonb_agg(value || jsonb_build_object('no', n)), '[]')
        FROM jsonb_array_elements(requests) WITH ORDINALITY AS e(value, n)
        WHERE given[n] IS NULL AND (value ->> 'credits')::numeric > 0))
    LOOP
        given[short.no] := CASE WHEN short.is_spent THEN 'spent' ELSE 'reserved' END;
        details[short.no] := short.scope;
    END LOOP;
    WITH intents AS (
        INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared,
            status, attempt, run_id, chunk_id, epoch, started_at, credits, budget_scopes)
        SELECT c.id, c.key, c.provider, c.operation, c.identity, c.freshness, c.shared, 'intent',
            numbers[n] + 1, c.run_id, c.chunk_id, c.epoch, c.started_at, c.credits,
            c.budget_scopes
        FROM jsonb_array_elements(requests) WITH ORDINALITY AS e(value, n),
            jsonb_populate_record(NULL::provider_calls, e.value) AS c
        WHERE given[n] IS NULL ORDER BY c.key ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT coalesce(array_agg(intents.id), '{}') INTO written FROM intents;
    -- Of two requests with one shared key, the first is admitted.
    FOR n IN 1 .. cardinality(ids) LOOP
        IF given[n] IS NULL AND ids[n] <> ALL(written) THEN
            given[n] := 'in_flight';
        END IF;
    END LOOP;
    PERFORM book_credits((
        SELECT jsonb_agg(jsonb_build_object('provider', value -> 'provider', 'budget_scopes',
            value -> 'budget_scopes', 'reserved', value -> 'credits', 'spent', 0))
        FROM jsonb_array_elements(requests) WITH ORDINALITY AS e(value, n)
        WHERE given[n] IS NULL));
    RETURN QUERY SELECT g.id, coalesce(g.answer, 'admitted'), g.wait, g.detail
        FROM unnest(ids, given, waits, details) AS g(id, answer, wait, detail);
END $$
"""

# An end without a status means the call was never sent: its row is deleted, its credits are freed.
# A call keeps its first outcome, but a late outcome replaces "unknown". Only ``is_void`` (without
# effect, or refunded) ends a call again, at no cost.
_END: Final = """
CREATE FUNCTION end_calls(ends jsonb) RETURNS SETOF uuid LANGUAGE sql STRICT AS $$
    WITH e AS MATERIALIZED (
        SELECT e.*, CASE WHEN c.status = 'intent' THEN c.credits ELSE 0 END AS reserved,
            CASE WHEN c.status = 'intent' THEN 0 ELSE c.credits END AS spent
        FROM jsonb_to_recordset(ends) AS e(id uuid, status text, finished_at timestamptz,
            credits numeric, http_status smallint, error_category text, error text, is_void boolean)
        JOIN provider_calls c USING (id)
        WHERE c.status IN ('intent', 'unknown') OR (e.is_void AND c.status IN ('failed', e.status))
        ORDER BY c.key, c.id FOR UPDATE OF c
    ), ended AS (
        UPDATE provider_calls c SET status = e.status, finished_at = e.finished_at,
            credits = e.credits, http_status = e.http_status, error_category = e.error_category,
            error = e.error
        FROM e WHERE c.id = e.id AND e.status IS NOT NULL
        RETURNING c.id, c.provider, c.budget_scopes, -e.reserved AS reserved,
            e.credits - e.spent AS spent
    ), cancelled AS (
        DELETE FROM provider_calls c USING e WHERE c.id = e.id AND e.status IS NULL
        RETURNING c.id, c.provider, c.budget_scopes, -e.reserved AS reserved, -e.spent AS spent
    ), moved AS (
        SELECT * FROM ended UNION ALL SELECT * FROM cancelled
    ), booked AS MATERIALIZED (
        SELECT book_credits((SELECT jsonb_agg(to_jsonb(moved)) FROM moved))
    )
    SELECT moved.id FROM moved, booked
$$
"""

# Writes a start that the provider made and charged, once by its id, and books it: no budget can
# refuse it. A start that is known without a run gets its run later, and then counts in its budgets.
_CHARGE: Final = """
CREATE FUNCTION charge_start(start jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    entry provider_calls := jsonb_populate_record(NULL::provider_calls, start);
    scopes jsonb := start -> 'scopes';
BEGIN
    INSERT INTO provider_calls SELECT entry.* ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        scopes := (SELECT coalesce(jsonb_agg(s), '[]') FROM jsonb_array_elements(scopes) AS s
            WHERE starts_with(s ->> 0, 'run:') OR starts_with(s ->> 0, 'backfill:'));
        UPDATE provider_calls c SET run_id = entry.run_id, chunk_id = entry.chunk_id,
            epoch = entry.epoch,
            budget_scopes = c.budget_scopes || jsonb_path_query_array(scopes, '$[*][0]')
        WHERE c.id = entry.id AND c.run_id IS NULL AND entry.run_id IS NOT NULL
        RETURNING c.credits INTO entry.credits;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    -- It makes the rows of the budgets that had no call yet.
    PERFORM budget_shortages(jsonb_build_array(jsonb_build_object('no', 1,
        'provider', entry.provider, 'credits', entry.credits, 'scopes', scopes)));
    PERFORM book_credits(jsonb_build_array(jsonb_build_object('provider', entry.provider,
        'budget_scopes', jsonb_path_query_array(scopes, '$[*][0]'),
        'reserved', 0, 'spent', entry.credits)));
END $$
"""

# Each function comes after those that it calls.
FUNCTIONS: Final = (_HISTORY, _SLOTS, _END, _ADMIT, _CHARGE)
