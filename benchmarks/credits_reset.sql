-- What `monthly-credits-reset` leaves behind, written by hand: the balances, new ones among them, a transaction
-- and notifications for each, the audit rows, the run record. One statement does it for all professionals.
WITH run AS (
    INSERT INTO runs (job, started_at, outcome, counts, options, host, pid, version)
    VALUES ('monthly-credits-reset', clock_timestamp(), 'running', '{}', '{}', 'by hand', pg_backend_pid(), '0')
    RETURNING id, started_at, to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month,
        to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS written
),
verified AS (
    SELECT professionals.id, professionals.user_id
    FROM professionals JOIN users ON users.id = professionals.user_id AND users.deleted_at IS NULL
    WHERE verification_status IN ('basic', 'comprehensive')
),
changed AS (
    UPDATE credit_balances SET free_credits = 100, last_reset_at = run.started_at
    FROM verified, run
    WHERE verified.id = professional_id AND NOT EXISTS (
        SELECT FROM credit_transactions AS moved
        WHERE moved.professional_id = credit_balances.professional_id AND moved.period >= run.month)
    RETURNING credit_balances.id, professional_id, verified.user_id, old.free_credits AS had,
        old.last_reset_at AS reset_before, paid_credits
),
made AS (
    INSERT INTO credit_balances (professional_id, free_credits, last_reset_at, created_at)
    SELECT verified.id, 100, run.started_at, run.started_at FROM verified, run
    WHERE NOT EXISTS (SELECT FROM credit_balances WHERE professional_id = verified.id)
    ORDER BY verified.id
    RETURNING id, professional_id
),
done AS (
    SELECT id, professional_id, user_id, had, reset_before, paid_credits, false AS new FROM changed UNION ALL
    SELECT made.id, professional_id, user_id, 0, NULL, 0, true
    FROM made JOIN verified ON verified.id = professional_id
),
moved AS (
    INSERT INTO credit_transactions (professional_id, type, credit_type, period, amount, free_before,
        free_after, paid_before, paid_after, created_at)
    SELECT professional_id, 'monthly_reset', 'free', run.month, 100 - had, had, 100, paid_credits,
        paid_credits, run.started_at
    FROM done, run
),
trail AS (
    INSERT INTO audit_trail (run_id, at, table_name, row_id, before, after)
    SELECT run.id, run.started_at, 'credit_balances', done.id,
        CASE WHEN new THEN '{}' ELSE jsonb_build_object('free_credits', had, 'last_reset_at',
            to_char(reset_before AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) END,
        CASE WHEN new THEN jsonb_build_object('professional_id', professional_id, 'free_credits', 100,
            'last_reset_at', written, 'created_at', written)
        ELSE jsonb_build_object('free_credits', 100, 'last_reset_at', written) END
    FROM done, run
)
INSERT INTO notifications (user_id, channel, category, template, context, once_key, queued_at)
SELECT users.id, channels.channel, 'credits', 'credits-reset', '{"free_credits": 100}',
    'credits-reset.' || run.month || '.' || users.id || '.' || channels.channel AS once_key, run.started_at
FROM done
CROSS JOIN run
JOIN users ON users.id = done.user_id
JOIN (VALUES ('email'), ('tray')) AS channels (channel)
    ON channels.channel = 'tray' OR users.email IS NOT NULL
LEFT JOIN channel_preferences AS about_it ON about_it.user_id = users.id
    AND about_it.channel = channels.channel AND about_it.category = 'credits'
LEFT JOIN channel_preferences AS about_all ON about_all.user_id = users.id
    AND about_all.channel = channels.channel AND about_all.category = '*'
WHERE coalesce(about_it.accepted, about_all.accepted, true)
ORDER BY once_key
ON CONFLICT (once_key) DO NOTHING;

UPDATE runs
SET ended_at = clock_timestamp(), outcome = 'done', exit_code = 0,
    counts = jsonb_build_object('reset', (SELECT count(*) FROM audit_trail WHERE run_id = runs.id))
WHERE ended_at IS NULL;
