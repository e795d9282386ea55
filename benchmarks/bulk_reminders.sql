-- What `upcoming-session-reminder` leaves behind with SESSION_REMINDER_LEADS=24h,1h, written by hand: who is
-- reminded, the audit rows, the run record. One statement does it for all sessions, its parts reading what
-- the UPDATE returns (`old` needs PostgreSQL 18); the notifications go in by their keys, so that the index
-- on them grows at its end.
WITH run AS (
    INSERT INTO runs (job, started_at, outcome, counts, options, host, pid, version)
    VALUES ('upcoming-session-reminder', clock_timestamp(), 'running', '{}', '{}', 'by hand',
        pg_backend_pid(), '0')
    RETURNING id, started_at
),
changed AS (
    UPDATE sessions
    SET reminded_start = starts_at,
        reminded_lead = CASE WHEN starts_at <= started_at + interval '1 hour' THEN 3600 ELSE 86400 END
    FROM run
    WHERE status = 'not_started' AND NOT instant AND starts_at > started_at
        AND starts_at <= started_at + interval '24 hours'
        AND (reminded_lead IS NULL OR NOT (reminded_start = starts_at AND reminded_lead
            <= CASE WHEN starts_at <= started_at + interval '1 hour' THEN 3600 ELSE 86400 END))
    RETURNING sessions.id, expert_id, consumer_id, starts_at, coalesce(join_url, '') AS join_url,
        old.reminded_start AS start_before, old.reminded_lead AS lead_before, new.reminded_lead AS lead,
        run.id AS run_id, started_at,
        to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS starts
),
trail AS (
    INSERT INTO audit_trail (run_id, at, table_name, row_id, before, after)
    SELECT run_id, started_at, 'sessions', id,
        jsonb_build_object('reminded_lead', lead_before, 'reminded_start',
            to_char(start_before AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
        jsonb_build_object('reminded_lead', lead, 'reminded_start', starts)
    FROM changed
)
INSERT INTO notifications
    (user_id, channel, category, template, context, once_key, queued_at, expires_at, session_id)
SELECT users.id, channels.channel, 'reminder', 'session-reminder',
    jsonb_build_object('partner', coalesce(partner.name, ''), 'starts_at', starts, 'join_url', join_url),
    'session-reminder.' || changed.id || '.' || starts || '.' || lead || '.' || users.id || '.'
        || channels.channel AS once_key,
    started_at, starts_at, changed.id
FROM changed
CROSS JOIN LATERAL (VALUES (expert_id, consumer_id), (consumer_id, expert_id)) AS told (user_id, partner_id)
JOIN users ON users.id = told.user_id AND users.deleted_at IS NULL
LEFT JOIN users AS partner ON partner.id = told.partner_id
JOIN (VALUES ('email'), ('tray')) AS channels (channel)
    ON channels.channel = 'tray' OR users.email IS NOT NULL
LEFT JOIN channel_preferences AS about_it ON about_it.user_id = users.id
    AND about_it.channel = channels.channel AND about_it.category = 'reminder'
LEFT JOIN channel_preferences AS about_all ON about_all.user_id = users.id
    AND about_all.channel = channels.channel AND about_all.category = '*'
WHERE coalesce(about_it.accepted, about_all.accepted, true)
ORDER BY once_key
ON CONFLICT (once_key) DO NOTHING;

UPDATE runs
SET ended_at = clock_timestamp(), outcome = 'done', exit_code = 0,
    counts = jsonb_build_object('reminded', (SELECT count(*) FROM audit_trail WHERE run_id = runs.id))
WHERE ended_at IS NULL;
