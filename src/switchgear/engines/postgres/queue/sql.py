"""The statements of the queue.

Each is one round trip and one commit. Where a message goes from one table to another it does so
within one statement: it is never in both, and never in none.
"""

# ruff: noqa: S608 - every part of these is a constant of this file

from typing import Final

MESSAGE: Final = "message, topic, key, body, headers, published_at, expires_at"
COLUMNS: Final = f"{MESSAGE}, attempts, deaths, trail"

# $1 ids, $2 topics, $3 keys, $4 bodies, $5 headers, $6 seconds until expiry (null: never)
PUBLISH: Final = """
INSERT INTO switchgear.ready (message, topic, key, body, headers, expires_at)
SELECT m.id, m.topic, m.key, m.body, m.headers, now() + make_interval(secs => m.expires)
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::float8[])
    AS m (id, topic, key, body, headers, expires)
"""

# As above, and $7 seconds of delay
PUBLISH_DELAYED: Final = f"""
INSERT INTO switchgear.delayed (due_at, {COLUMNS})
SELECT now() + make_interval(secs => m.delay), m.id, m.topic, m.key, m.body, m.headers, now(),
    now() + make_interval(secs => m.expires), 0, 0, '{{}}'
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::float8[],
    $7::float8[]) AS m (id, topic, key, body, headers, expires, delay)
"""

RING: Final = "SELECT pg_notify($1, topic) FROM unnest($2::text[]) AS topic"

# $1 name, $2 seconds of lease
HOLD: Final = """
INSERT INTO switchgear.holder (name, until) VALUES ($1, now() + make_interval(secs => $2))
RETURNING id
"""

# $1 holders, $2 seconds of lease; what is not returned is lost
RENEW: Final = """
UPDATE switchgear.holder SET until = now() + make_interval(secs => $2)
WHERE id = ANY($1::bigint[]) AND dead_at IS NULL RETURNING id
"""

# $1 holder, $2 finished ids, $3 topic, $4 floor, $5 how many: what is finished goes, what comes
# next is leased. Nothing for a holder that was declared dead: what was taken from it lies free, and
# taking it again under the same number would let the first delivery settle the second.
NEXT: Final = f"""
WITH finished AS (
    DELETE FROM switchgear.ready WHERE id = ANY($2::bigint[]) AND holder = $1 RETURNING id
), free AS (
    SELECT id FROM switchgear.ready
    WHERE topic = $3 AND holder IS NULL AND deaths = 0 AND id > $4
        AND EXISTS (SELECT FROM switchgear.holder WHERE id = $1 AND dead_at IS NULL)
    ORDER BY id LIMIT $5 FOR UPDATE SKIP LOCKED
), leased AS (
    UPDATE switchgear.ready AS r SET holder = $1 FROM free WHERE r.id = free.id
    RETURNING r.id, r.{COLUMNS.replace(", ", ", r.")}
)
SELECT (SELECT count(*) FROM finished) AS finished,
    leased.*, extract(epoch FROM published_at)::float8 AS published,
    extract(epoch FROM expires_at - now())::float8 AS "left"
FROM (SELECT 1) AS always LEFT JOIN leased ON true ORDER BY leased.id
"""

# The same for those that a process died with.
NEXT_SUSPECT: Final = NEXT.replace("deaths = 0", "deaths > 0")

# $1 holder, $2 ids
FINISH: Final = (
    "DELETE FROM switchgear.ready WHERE id = ANY($2::bigint[]) AND holder = $1 RETURNING id"
)

# $1 holder, $2 ids
RELEASE: Final = """
UPDATE switchgear.ready SET holder = NULL WHERE id = ANY($2::bigint[]) AND holder = $1 RETURNING id
"""

# $1 holder, $2 topic, $3 ids that we know of: a lease whose answer was lost is given back
RETURN_UNKNOWN: Final = """
UPDATE switchgear.ready SET holder = NULL
WHERE holder = $1 AND topic = $2 AND id <> ALL($3::bigint[]) RETURNING id
"""

# One line more, and the oldest beyond thirty go.
TRAIL: Final = """(trail || format('%s %s', to_char(now(), 'YYYY-MM-DD HH24:MI:SS'), s.line))
    [greatest(cardinality(trail) - 28, 1):]"""

# $1 holder, $2 ids, $3 waits, $4 counted attempts, $5 lines for the trail
RETRY: Final = f"""
WITH gone AS (
    DELETE FROM switchgear.ready AS r
    USING unnest($2::bigint[], $3::float8[], $4::int[], $5::text[])
        AS s (id, wait, counted, line)
    WHERE r.id = s.id AND r.holder = $1
    RETURNING r.{COLUMNS.replace(", ", ", r.")}, s.wait, s.counted, s.line
)
INSERT INTO switchgear.delayed (due_at, {COLUMNS})
SELECT now() + make_interval(secs => s.wait), {MESSAGE}, attempts + s.counted, deaths, {TRAIL}
FROM gone AS s RETURNING id
"""

# $1 holder, $2 ids, $3 outcomes, $4 causes, $5 counted attempts, $6 consumer
BURY: Final = f"""
WITH gone AS (
    DELETE FROM switchgear.ready AS r
    USING unnest($2::bigint[], $3::text[], $4::text[], $5::int[])
        AS s (id, outcome, cause, counted)
    WHERE r.id = s.id AND r.holder = $1
    RETURNING r.{COLUMNS.replace(", ", ", r.")}, s.outcome, s.cause, s.counted, s.cause AS line
)
INSERT INTO switchgear.dead (outcome, cause, consumer, {COLUMNS})
SELECT s.outcome, s.cause, $6, {MESSAGE}, attempts + s.counted, deaths, {TRAIL}
FROM gone AS s RETURNING entry
"""

# $1 row, $2 holder, $3 consumer, $4 message: in the effect's transaction
CLAIM: Final = """
WITH ours AS (
    DELETE FROM switchgear.ready WHERE id = $1 AND holder = $2 RETURNING id
), noted AS (
    INSERT INTO switchgear.inbox (consumer, message) SELECT $3, $4 FROM ours
    ON CONFLICT DO NOTHING RETURNING message
)
SELECT (SELECT count(*) FROM ours) AS ours, (SELECT count(*) FROM noted) AS noted
"""

# $1 how many: what is due becomes ready, behind what is ready already
MOVE_DUE: Final = f"""
WITH due AS (
    DELETE FROM switchgear.delayed WHERE id IN (
        SELECT id FROM switchgear.delayed WHERE due_at <= now() ORDER BY due_at LIMIT $1
        FOR UPDATE SKIP LOCKED
    ) RETURNING due_at, {COLUMNS}
), moved AS (
    INSERT INTO switchgear.ready ({COLUMNS}) SELECT {COLUMNS} FROM due ORDER BY due_at
    RETURNING topic
)
SELECT DISTINCT topic FROM moved
"""

# Reclaiming is three statements. The first is committed before the second looks; and because a
# lease may have been under way just then, the dead are looked at again for a minute.
MARK_DEAD: Final = """
UPDATE switchgear.holder SET dead_at = now() WHERE until < now() AND dead_at IS NULL RETURNING name
"""

# $1 deaths that a message does not survive
RECLAIM: Final = f"""
WITH left_over AS (
    SELECT r.id FROM switchgear.ready AS r JOIN switchgear.holder AS h ON r.holder = h.id
    WHERE h.dead_at IS NOT NULL FOR UPDATE OF r SKIP LOCKED
), killers AS (
    DELETE FROM switchgear.ready AS r USING left_over
    WHERE r.id = left_over.id AND r.deaths + 1 >= $1
    RETURNING r.{COLUMNS.replace(", ", ", r.")}
), buried AS (
    INSERT INTO switchgear.dead (outcome, cause, consumer, {COLUMNS})
    SELECT 'dead', format('the process that held it died, %s times', deaths + 1), topic,
        {MESSAGE}, attempts, deaths + 1, {TRAIL.replace("s.line", "'process died'")}
    FROM killers
), suspects AS (
    UPDATE switchgear.ready AS r SET holder = NULL, deaths = r.deaths + 1,
        trail = {TRAIL.replace("s.line", "'process died'")}
    FROM left_over WHERE r.id = left_over.id AND r.deaths + 1 < $1 RETURNING r.topic
)
SELECT DISTINCT topic FROM suspects
"""

FORGET_DEAD: Final = """
DELETE FROM switchgear.holder AS h WHERE dead_at < now() - interval '1 minute'
    AND NOT EXISTS (SELECT FROM switchgear.ready WHERE holder = h.id)
"""

SUSPECTS: Final = "SELECT DISTINCT topic FROM switchgear.ready WHERE holder IS NULL AND deaths > 0"

# $1 holder: at its close
LET_GO: Final = """
WITH freed AS (UPDATE switchgear.ready SET holder = NULL WHERE holder = $1)
DELETE FROM switchgear.holder WHERE id = $1
"""

# $1 seconds, $2 how many at most; returns how many it were
PRUNE: Final = """
WITH gone AS (
    DELETE FROM switchgear.inbox WHERE ctid IN (
        SELECT ctid FROM switchgear.inbox
        WHERE done_at < now() - make_interval(secs => $1) LIMIT $2
    ) RETURNING 1
)
SELECT count(*) AS pruned FROM gone
"""

DEPTHS: Final = """
SELECT topic, state, count(*) AS depth FROM (
    SELECT topic, CASE WHEN holder IS NULL THEN 'ready' ELSE 'leased' END AS state
    FROM switchgear.ready
    UNION ALL SELECT topic, 'delayed' FROM switchgear.delayed
    UNION ALL SELECT topic, outcome FROM switchgear.dead
) AS everywhere GROUP BY topic, state
"""

# $1 topic, $2 entry to start behind
DEAD: Final = f"""
SELECT entry, outcome, cause, consumer, {COLUMNS},
    extract(epoch FROM published_at)::float8 AS published,
    extract(epoch FROM died_at)::float8 AS died
FROM switchgear.dead WHERE topic = $1 AND entry > $2 ORDER BY entry LIMIT 100
"""

# $1 entry
REPLAY: Final = f"""
WITH gone AS (DELETE FROM switchgear.dead WHERE entry = $1 RETURNING {COLUMNS})
INSERT INTO switchgear.ready ({MESSAGE}, trail)
SELECT message, topic, key, body, headers, published_at, NULL, trail || 'replayed'::text
FROM gone RETURNING topic
"""

DISCARD: Final = "DELETE FROM switchgear.dead WHERE entry = $1 RETURNING entry"
