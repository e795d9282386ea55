-- What `notification-sender` leaves behind when every message is sent, written by hand: the rows claimed
-- and settled in batches, the audit rows, the run record. Run in autocommit: it commits as it goes.
-- :batch is how many rows it takes at once, :job the name in the run record.
DO $$
DECLARE
    run bigint;
    begun CONSTANT timestamptz := clock_timestamp();
    after_due timestamptz := '-infinity';
    after_id bigint := 0;
    batch bigint[];
    settled timestamptz;
    total bigint := 0;
BEGIN
    INSERT INTO runs (job, started_at, outcome, counts, options, host, pid, version)
    VALUES (':job', begun, 'running', '{}', '{}', 'by hand', pg_backend_pid(), '0')
    RETURNING id INTO run;
    LOOP
        batch := ARRAY(
            SELECT id FROM notifications
            WHERE status = 'queued' AND attempts < 5 AND due_at <= begun AND claimed_by IS NULL
                AND (due_at, id) > (after_due, after_id)
            ORDER BY due_at, id LIMIT :batch
            FOR UPDATE SKIP LOCKED
        );
        EXIT WHEN cardinality(batch) = 0;
        UPDATE notifications SET claimed_by = run, attempts = attempts + 1 WHERE id = ANY (batch);
        SELECT due_at, id INTO after_due, after_id
        FROM notifications WHERE id = batch[cardinality(batch)];
        COMMIT;

        settled := clock_timestamp();
        INSERT INTO audit_trail (run_id, at, table_name, row_id, before, after)
        SELECT run, settled, 'notifications', id,
            jsonb_build_object('status', status, 'settled_at',
                to_char(settled_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
            jsonb_build_object('status', 'sent', 'settled_at',
                to_char(settled AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        FROM notifications
        WHERE id = ANY (batch) AND claimed_by = run AND status IN ('queued', 'held')
        FOR UPDATE;
        UPDATE notifications
        SET status = 'sent', settled_at = settled, provider_message_id = NULL, reason = NULL, claimed_by = NULL
        WHERE id = ANY (batch) AND claimed_by = run AND status IN ('queued', 'held');
        total := total + cardinality(batch);
        COMMIT;
    END LOOP;
    UPDATE runs
    SET ended_at = clock_timestamp(), outcome = 'done', exit_code = 0,
        counts = jsonb_build_object('sent', total)
    WHERE id = run;
END
$$;
