"""Functions of the database that admit calls: limits, intents and credits, all in one statement.

A wish is a row of ``provider_calls`` to be, as a JSON object, with ``fresh_since``,
``third_party``, ``has_slot`` and ``scopes`` (name, limit) beside it.
"""

from typing import Final

# One row per wish: its history by key. A call is no failure whose caller died or was cancelled.
# Each look-up ends at the first row that answers it, so that a batch's next poll costs the same
# after a hundred thousand polls, which have one key, as after one. What may not be reused is not
# looked for. (Not ``EXISTS`` but ``LIMIT 1``: the planner may answer an ``EXISTS`` by a hash of the
# whole table.)
_HISTORY: Final = """
CREATE FUNCTION call_history(wishes jsonb, ids uuid[], OUT no int, OUT id uuid, OUT key bytea,
    OUT attempt int, OUT has_failed boolean, OUT is_written boolean, OUT is_busy boolean,
    OUT replied_at timestamptz
) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT w.no, w.id, w.key, coalesce(last.attempt, 0), coalesce(last.has_failed, false),
        written.id IS NOT NULL, busy.id IS NOT NULL, reply.finished_at
    FROM (
        SELECT ordinality::int AS no, (value ->> 'id')::uuid AS id,
            (value ->> 'key')::bytea AS key,
            (value ->> 'fresh_since')::timestamptz AS fresh_since
        FROM jsonb_array_elements(wishes) WITH ORDINALITY
    ) AS w LEFT JOIN LATERAL (
        SELECT c.attempt, coalesce(c.error_category, 'internal') <> 'internal' AS has_failed
        FROM provider_calls c WHERE c.key = w.key ORDER BY c.attempt DESC LIMIT 1
    ) AS last ON true LEFT JOIN LATERAL (
        SELECT c.id FROM provider_calls c WHERE c.id = w.id AND c.key = w.key LIMIT 1
    ) AS written ON true LEFT JOIN LATERAL (
        SELECT c.id FROM provider_calls c WHERE c.key = w.key AND c.status = 'intent'
        AND c.shared AND c.id <> ALL(ids) LIMIT 1
    ) AS busy ON true LEFT JOIN LATERAL (
        SELECT c.finished_at FROM provider_calls c WHERE w.fresh_since IS NOT NULL
        AND c.key = w.key AND c.status = 'ok' AND c.finished_at >= w.fresh_since
        AND EXISTS (SELECT FROM raw_replies r WHERE r.call_id = c.id)
        ORDER BY c.attempt DESC LIMIT 1
    ) AS reply ON true
$$
"""

# Which of the wanted credits fit, in the order of the wishes: NULL, or the scope without room and
# whether it is spent (else calls under way may give back what they hold). The scopes' rows are
# locked until the transaction ends. A run's limit is its row's; others are given.
_SHORTAGES: Final = """
CREATE FUNCTION budget_shortages(wants jsonb, OUT no int, OUT scope text, OUT is_spent boolean)
RETURNS SETOF record LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    room jsonb;
    want record;
BEGIN
    WITH wanted AS (
        SELECT DISTINCT ON (1, 2) w ->> 'provider' AS provider, s ->> 0 AS scope,
            (s ->> 1)::numeric AS limit_credits
        FROM jsonb_array_elements(wants) AS w, jsonb_array_elements(w -> 'scopes') AS s
        ORDER BY 1, 2
    ), held AS (
        INSERT INTO provider_budgets AS b (provider, scope, limit_credits)
        SELECT * FROM wanted
        ON CONFLICT (provider, scope) DO UPDATE SET limit_credits =
            CASE WHEN starts_with(b.scope, 'run:') THEN b.limit_credits
            ELSE excluded.limit_credits END
        RETURNING *
    )
    SELECT jsonb_object_agg(provider || ' ' || scope, jsonb_build_object(
        'free', limit_credits - reserved - spent, 'unspent', limit_credits - spent))
    INTO room FROM held;
    FOR want IN
        SELECT (w ->> 'no')::int AS no, (w ->> 'credits')::numeric AS credits,
            array(SELECT (w ->> 'provider') || ' ' || (s ->> 0)
                FROM jsonb_array_elements(w -> 'scopes') AS s) AS keys
        FROM jsonb_array_elements(wants) AS w ORDER BY 1
    LOOP
        no := want.no;
        -- One that is spent decides: waiting for the others would not help.
        SELECT split_part(key, ' ', 2), want.credits > (room #>> ARRAY[key, 'unspent'])::numeric
        INTO scope, is_spent FROM unnest(want.keys) WITH ORDINALITY AS k(key, place)
        WHERE want.credits > (room #>> ARRAY[key, 'free'])::numeric
        ORDER BY 2 DESC, place LIMIT 1;
        IF scope IS NULL THEN
            SELECT room || jsonb_object_agg(key, jsonb_set(room -> key, '{free}', coalesce(
                to_jsonb((room #>> ARRAY[key, 'free'])::numeric - want.credits), 'null')))
            INTO room FROM unnest(want.keys) AS k(key);
        ELSE
            RETURN NEXT;
        END IF;
    END LOOP;
END $$
"""

# Adds what moved to the budgets it counts in, whose rows are locked in one order by everybody.
_BOOK: Final = """
CREATE FUNCTION book_credits(moved jsonb) RETURNS void LANGUAGE sql AS $$
    WITH deltas AS (
        SELECT m.provider, s.scope, sum(m.reserved) AS reserved, sum(m.spent) AS spent
        FROM jsonb_to_recordset(moved)
            AS m(provider text, budget_scopes jsonb, reserved numeric, spent numeric),
            jsonb_array_elements_text(m.budget_scopes) AS s(scope)
        GROUP BY 1, 2 HAVING sum(m.reserved) <> 0 OR sum(m.spent) <> 0
    ), held AS MATERIALIZED (
        SELECT b.provider, b.scope, d.reserved, d.spent
        FROM provider_budgets b JOIN deltas d USING (provider, scope)
        ORDER BY b.provider, b.scope FOR UPDATE OF b
    )
    UPDATE provider_budgets b SET reserved = b.reserved + held.reserved,
        spent = b.spent + held.spent
    FROM held WHERE b.provider = held.provider AND b.scope = held.scope
$$
"""

# The limits of each provider, whose row is locked: retries first, then slots. A retry repeats what
# failed. A poll is none, nor is what a dead worker left unfinished, nor what a third party failed:
# none says that the provider is unwell, and a restart must not wait for tokens. A slot that has
# come is used at once; a pause that began since a slot was given holds for it too.
_LIMITS: Final = """
CREATE FUNCTION pass_limits(
    wishes jsonb, policies jsonb, horizon interval, at timestamptz, ids uuid[]
) RETURNS TABLE (no int, answer text, wait float8, detail text, attempt int)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    pace provider_rates;
    stored provider_rates;
    policy jsonb;
    gap interval;
    slot timestamptz;
    tokens float8;
    is_paused boolean;
    is_retry boolean;
    asked int;
    later int;
    firsts int;
    retries int;
    wish record;
BEGIN
    FOR stored IN SELECT * FROM provider_rates WHERE policies ? provider ORDER BY provider LOOP
        pace := pace_in_time(stored, at);
        IF pace IS DISTINCT FROM stored THEN
            UPDATE provider_rates SET paused_until = pace.paused_until,
                penalised_at = pace.penalised_at, tokens_at = pace.tokens_at
            WHERE provider = pace.provider;
        END IF;
        policy := policies -> pace.provider;
        gap := make_interval(
            secs => 1 / provider_rate_now(pace, (policy ->> 'rate')::float8, at));
        slot := provider_first_slot(pace, gap, horizon, at);
        tokens := provider_retry_tokens(pace, policy, 0, at);
        is_paused := coalesce(pace.paused_until > at, false);
        asked := 0; later := 0; firsts := 0; retries := 0;
        FOR wish IN
            SELECT h.*, e.value AS w FROM call_history(wishes, ids) AS h
            JOIN jsonb_array_elements(wishes) WITH ORDINALITY AS e(value, n) ON e.n = h.no
            WHERE e.value ->> 'provider' = pace.provider ORDER BY h.no
        LOOP
            no := wish.no; attempt := wish.attempt;
            answer := NULL; wait := NULL; detail := NULL;
            is_retry := wish.has_failed AND NOT (wish.w ->> 'third_party')::boolean;
            IF wish.is_written THEN
                answer := 'written';
            ELSIF wish.replied_at >= (wish.w ->> 'fresh_since')::timestamptz THEN
                answer := 'bought';
            ELSIF wish.is_busy AND (wish.w ->> 'shared')::boolean THEN
                answer := 'busy';
            ELSIF is_retry AND tokens - retries < 1 THEN
                answer := 'retries';
                wait := least(60, greatest(1,
                    (1 - tokens + retries) * 120 / (policy ->> 'retry_floor')::float8));
            ELSIF (wish.w ->> 'has_slot')::boolean THEN
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
                retries := retries + is_retry::int; firsts := firsts + (NOT is_retry)::int;
            END IF;
            RETURN NEXT;
        END LOOP;
        IF asked + firsts + retries > 0 THEN
            UPDATE provider_rates SET
                next_slot_at = CASE WHEN asked > 0 THEN slot ELSE next_slot_at END,
                retry_tokens = CASE WHEN firsts + retries > 0 THEN greatest(0,
                    provider_retry_tokens(pace, policy, firsts, at) - retries)
                    ELSE retry_tokens END,
                tokens_at = CASE WHEN firsts + retries > 0 THEN at ELSE tokens_at END
            WHERE provider = pace.provider;
        END IF;
    END LOOP;
END $$
"""

# A wish is answered by "written" (an earlier try committed it), "bought", "busy", "retries"
# (too many), "limited", "slot" (one that lies ahead), "held" or "spent" (a budget), "admitted".
# Slots come after what else refuses: who is refused anyway must not use one up. Locks are taken in
# one order everywhere: rates by provider, then calls by key, then budgets.
_ADMIT: Final = """
CREATE FUNCTION admit_calls(
    wishes jsonb, policies jsonb, horizon interval, _at timestamptz DEFAULT NULL
) RETURNS TABLE (id uuid, answer text, wait_seconds float8, detail text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    ids uuid[] := array(SELECT (value ->> 'id')::uuid FROM jsonb_array_elements(wishes));
    keys bytea[] := array(SELECT DISTINCT (value ->> 'key')::bytea
        FROM jsonb_array_elements(wishes) ORDER BY 1);
    given text[] := array_fill(NULL::text, ARRAY[cardinality(ids)]);
    waits float8[] := array_fill(NULL::float8, ARRAY[cardinality(ids)]);
    details text[] := given;
    numbers int[] := array_fill(0, ARRAY[cardinality(ids)]);
    at timestamptz;
    late jsonb;
    kept uuid[];
    short record;
BEGIN
    INSERT INTO provider_rates (provider) SELECT * FROM jsonb_object_keys(policies) ORDER BY 1
        ON CONFLICT DO NOTHING;
    PERFORM 1 FROM provider_rates WHERE policies ? provider ORDER BY provider FOR UPDATE;
    at := coalesce(_at, clock_timestamp());
    -- Intents of owners that are gone: possibly paid.
    WITH gone AS (
        SELECT c.id FROM provider_calls c WHERE c.key = ANY(keys) AND c.status = 'intent'
        AND c.shared AND c.id <> ALL(ids) AND NOT EXISTS (SELECT 1 FROM chunks
            WHERE chunks.id = c.chunk_id AND chunks.epoch = c.epoch AND chunks.status = 'owned')
        ORDER BY c.key FOR UPDATE
    ), moved AS (
        UPDATE provider_calls c SET status = 'unknown', finished_at = at FROM gone
        WHERE c.id = gone.id AND c.status = 'intent' RETURNING c.provider, c.budget_scopes,
            -c.credits AS reserved, c.credits AS spent
    )
    SELECT jsonb_agg(to_jsonb(moved)) INTO late FROM moved;
    SELECT array_agg(p.answer ORDER BY p.no), array_agg(p.wait ORDER BY p.no),
        array_agg(p.detail ORDER BY p.no), array_agg(p.attempt ORDER BY p.no)
    INTO given, waits, details, numbers
    FROM pass_limits(wishes, policies, horizon, at, ids) AS p;
    WITH written AS (
        INSERT INTO provider_calls (id, key, provider, operation, identity, freshness, shared,
            status, attempt, run_id, chunk_id, epoch, started_at, credits, budget_scopes)
        SELECT w.id, w.key, w.provider, w.operation, w.identity, w.freshness, w.shared, 'intent',
            numbers[n] + 1, w.run_id, w.chunk_id, w.epoch, w.started_at, w.credits,
            w.budget_scopes
        FROM jsonb_array_elements(wishes) WITH ORDINALITY AS e(value, n),
            jsonb_populate_record(NULL::provider_calls, e.value) AS w
        WHERE given[n] IS NULL ORDER BY w.key ON CONFLICT DO NOTHING RETURNING id
    )
    SELECT coalesce(array_agg(written.id), '{}') INTO kept FROM written;
    FOR n IN 1 .. cardinality(ids) LOOP
        IF given[n] IS NULL AND ids[n] <> ALL(kept) THEN
            given[n] := 'busy';
        END IF;
    END LOOP;
    FOR short IN SELECT * FROM budget_shortages((
        SELECT coalesce(jsonb_agg(value || jsonb_build_object('no', n)), '[]')
        FROM jsonb_array_elements(wishes) WITH ORDINALITY AS e(value, n)
        WHERE given[n] IS NULL AND (value ->> 'credits')::numeric > 0))
    LOOP
        given[short.no] := CASE WHEN short.is_spent THEN 'spent' ELSE 'held' END;
        details[short.no] := short.scope;
    END LOOP;
    DELETE FROM provider_calls c USING unnest(ids, given) AS g(id, answer)
        WHERE g.answer IN ('held', 'spent') AND c.id = g.id;
    PERFORM book_credits(coalesce(late, '[]') || coalesce((
        SELECT jsonb_agg(jsonb_build_object('provider', value -> 'provider', 'budget_scopes',
            value -> 'budget_scopes', 'reserved', value -> 'credits', 'spent', 0))
        FROM jsonb_array_elements(wishes) WITH ORDINALITY AS e(value, n)
        WHERE given[n] IS NULL), '[]'));
    RETURN QUERY SELECT g.id, coalesce(g.answer, 'admitted'), g.wait, g.detail
        FROM unnest(ids, given, waits, details) AS g(id, answer, wait, detail);
END $$
"""

FUNCTIONS: Final = (_HISTORY, _SHORTAGES, _BOOK, _LIMITS, _ADMIT)
