-- What `expire-payments` leaves behind, written by hand: the expired payments, the audit rows, the run record.
WITH run AS (
    INSERT INTO runs (job, started_at, outcome, counts, options, host, pid, version)
    VALUES ('expire-payments', clock_timestamp(), 'running', '{}', '{}', 'by hand', pg_backend_pid(), '0')
    RETURNING id, started_at,
        to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS written
),
changed AS (
    UPDATE payments SET status = 'expired', expired_at = run.started_at
    FROM run
    WHERE status = 'pending' AND created_at < run.started_at - interval '7 days'
        AND (provider_payment_id IS NULL OR seen_pending_at >= created_at + interval '7 days')
        AND NOT EXISTS (
            SELECT FROM money_operations
            WHERE key = payments.reference AND money_operations.status IN ('started', 'pending', 'unknown')
        )
    RETURNING payments.id
)
INSERT INTO audit_trail (run_id, at, table_name, row_id, before, after)
SELECT run.id, run.started_at, 'payments', changed.id, '{"status": "pending", "expired_at": null}',
    jsonb_build_object('status', 'expired', 'expired_at', run.written)
FROM changed, run;

UPDATE runs
SET ended_at = clock_timestamp(), outcome = 'done', exit_code = 0,
    counts = jsonb_build_object('expired', (SELECT count(*) FROM audit_trail WHERE run_id = runs.id))
WHERE ended_at IS NULL;
