-- What `session-attendance-analyzer` leaves behind, written by hand: who came, the audit rows, who is told,
-- the run record. One statement does it for all sessions, its parts reading what the UPDATE returns; the
-- notifications go in by their keys, so that the index on them grows at its end.
WITH run AS (
    INSERT INTO runs (job, started_at, outcome, counts, options, host, pid, version)
    VALUES ('session-attendance-analyzer', clock_timestamp(), 'running', '{}', '{}', 'by hand',
        pg_backend_pid(), '0')
    RETURNING id, started_at,
        to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS written
),
changed AS (
    UPDATE sessions
    SET attendance_at = run.started_at,
        attendance = CASE
            WHEN (SELECT true FROM attendees WHERE session_id = sessions.id AND user_id = consumer_id) THEN
                CASE
                    WHEN (SELECT true FROM attendees WHERE session_id = sessions.id AND user_id = expert_id)
                    THEN 'all_present'
                    ELSE 'no_show_expert'
                END
            WHEN (SELECT true FROM attendees WHERE session_id = sessions.id AND user_id = expert_id)
            THEN 'no_show_consumer'
            ELSE 'none_showed'
        END
    FROM run
    WHERE attendance IS NULL AND status <> 'cancelled'
        AND (ended_at IS NOT NULL OR ends_at <= run.started_at - interval '5 minutes')
    RETURNING sessions.id, expert_id, consumer_id, attendance,
        to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS starts
),
trail AS (
    INSERT INTO audit_trail (run_id, at, table_name, row_id, before, after)
    SELECT run.id, run.started_at, 'sessions', changed.id,
        '{"attendance": null, "attendance_at": null}',
        jsonb_build_object('attendance', attendance, 'attendance_at', run.written)
    FROM changed, run
)
INSERT INTO notifications (user_id, channel, category, template, context, once_key, queued_at)
SELECT users.id, channels.channel, 'session', told.template, jsonb_build_object('starts_at', starts),
    told.template || '.' || changed.id || '.' || users.id || '.' || channels.channel AS once_key,
    run.started_at
FROM run, changed
JOIN (
    VALUES ('no_show_expert', 'session-missed-by-expert', true),
        ('none_showed', 'session-missed-by-expert', true),
        ('no_show_expert', 'session-apology', false),
        ('none_showed', 'session-apology', false),
        ('no_show_consumer', 'session-missed', false)
) AS told (attendance, template, expert) ON told.attendance = changed.attendance
JOIN users ON users.id = CASE WHEN told.expert THEN expert_id ELSE consumer_id END
    AND users.deleted_at IS NULL
JOIN (VALUES ('email'), ('tray')) AS channels (channel)
    ON channels.channel = 'tray' OR users.email IS NOT NULL
LEFT JOIN channel_preferences AS about_it ON about_it.user_id = users.id
    AND about_it.channel = channels.channel AND about_it.category = 'session'
LEFT JOIN channel_preferences AS about_all ON about_all.user_id = users.id
    AND about_all.channel = channels.channel AND about_all.category = '*'
WHERE coalesce(about_it.accepted, about_all.accepted, true)
ORDER BY once_key
ON CONFLICT (once_key) DO NOTHING;

UPDATE runs
SET ended_at = clock_timestamp(), outcome = 'done', exit_code = 0,
    counts = jsonb_build_object('analysed', (SELECT count(*) FROM audit_trail WHERE run_id = runs.id))
WHERE ended_at IS NULL;
