-- What `expire-subscriptions` leaves behind, written by hand: the expired subscriptions, the audit rows, who is
-- told, the run record. One statement does it for all of them, its parts reading what the UPDATE returns; the
-- notifications go in by their keys, so that the index on them grows at its end.
WITH run AS (
    INSERT INTO runs (job, started_at, outcome, counts, options, host, pid, version)
    VALUES ('expire-subscriptions', clock_timestamp(), 'running', '{}', '{}', 'by hand', pg_backend_pid(), '0')
    RETURNING id, started_at,
        to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS written
),
due AS (
    SELECT subscriptions.id, next_charge_at FROM subscriptions, run
    WHERE status = 'active' AND ended_at <= run.started_at - interval '3 days'
        AND (next_charge_at IS NULL OR ended_at <= run.started_at - interval '4 days')
        AND NOT EXISTS (
            SELECT FROM money_operations
            WHERE subject = 'subscription' AND subject_id = subscriptions.id
                AND money_operations.status IN ('started', 'pending', 'unknown')
        )
    FOR UPDATE OF subscriptions
),
changed AS (
    UPDATE subscriptions SET status = 'expired', expired_at = run.started_at, next_charge_at = NULL
    FROM due, run, plans
    WHERE subscriptions.id = due.id AND plans.id = subscriptions.plan_id
    RETURNING subscriptions.id, user_id, plans.name AS plan,
        to_char(due.next_charge_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS charged,
        to_char(ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS ended
),
trail AS (
    INSERT INTO audit_trail (run_id, at, table_name, row_id, before, after)
    SELECT run.id, run.started_at, 'subscriptions', changed.id,
        jsonb_build_object('status', 'active', 'expired_at', NULL, 'next_charge_at', charged),
        jsonb_build_object('status', 'expired', 'expired_at', run.written, 'next_charge_at', NULL)
    FROM changed, run
)
INSERT INTO notifications (user_id, channel, category, template, context, once_key, queued_at)
SELECT users.id, channels.channel, 'subscription', 'subscription-expired',
    jsonb_build_object('plan', plan, 'ended_at', ended),
    'subscription-expired.' || changed.id || '.' || ended || '.' || users.id || '.' || channels.channel AS once_key,
    run.started_at
FROM run, changed
JOIN users ON users.id = changed.user_id AND users.deleted_at IS NULL
JOIN (VALUES ('email'), ('tray')) AS channels (channel)
    ON channels.channel = 'tray' OR users.email IS NOT NULL
LEFT JOIN channel_preferences AS about_it ON about_it.user_id = users.id
    AND about_it.channel = channels.channel AND about_it.category = 'subscription'
LEFT JOIN channel_preferences AS about_all ON about_all.user_id = users.id
    AND about_all.channel = channels.channel AND about_all.category = '*'
WHERE coalesce(about_it.accepted, about_all.accepted, true)
ORDER BY once_key
ON CONFLICT (once_key) DO NOTHING;

UPDATE runs
SET ended_at = clock_timestamp(), outcome = 'done', exit_code = 0,
    counts = jsonb_build_object('expired', (SELECT count(*) FROM audit_trail WHERE run_id = runs.id))
WHERE ended_at IS NULL;
