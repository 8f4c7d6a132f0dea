"""Database functions over budgets: check which credits fit, and book them.

Budget rows are locked in one order everywhere: by provider, then by scope.
"""

from typing import Final

# Returns the requests whose credits do not fit: the scope without room, and whether it is spent. If
# it is not, calls in flight may still release credits. Requests are served in order. The scopes'
# rows stay locked until the transaction ends. The limit of a run or a backfill is that of its row;
# other limits are given.
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
            CASE WHEN starts_with(b.scope, 'run:') OR starts_with(b.scope, 'backfill:')
            THEN b.limit_credits
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
        -- A spent scope decides: waiting for the others would not help.
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

# Adds each change to the budgets of its scopes.
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

FUNCTIONS: Final = (_SHORTAGES, _BOOK)
