-- What `credit-expiry` leaves behind, written by hand: lots with nothing left, a transaction for each with the
-- balance before and after, the balances, the audit rows, the run record. One statement does it for all of them;
-- balances smaller than their expiring lots, which it would leave alone as well, there are none.
WITH run AS (
    INSERT INTO runs (job, started_at, outcome, counts, options, host, pid, version)
    VALUES ('credit-expiry', clock_timestamp(), 'running', '{}', '{}', 'by hand', pg_backend_pid(), '0')
    RETURNING id, started_at
),
due AS (
    SELECT lots.id, lots.professional_id, lots.remaining_amount AS gone, free_credits, paid_credits,
        coalesce(lots.expires_at, (lots.created_at AT TIME ZONE 'UTC' + interval '6 months')
            AT TIME ZONE 'UTC') AS expiry
    FROM credit_transactions AS lots
    CROSS JOIN run
    JOIN credit_balances ON credit_balances.professional_id = lots.professional_id
    WHERE credit_type = 'paid' AND remaining_amount > 0 AND (lots.expires_at <= run.started_at
        OR lots.expires_at IS NULL AND (lots.created_at AT TIME ZONE 'UTC' + interval '6 months')
            AT TIME ZONE 'UTC' <= run.started_at)
    FOR UPDATE OF lots, credit_balances
),
summed AS (
    SELECT due.*, sum(gone) OVER (PARTITION BY professional_id ORDER BY expiry, id) AS gone_so_far,
        sum(gone) OVER (PARTITION BY professional_id) AS gone_in_all
    FROM due
),
emptied AS (
    UPDATE credit_transactions AS lots SET remaining_amount = 0
    FROM summed WHERE lots.id = summed.id AND gone_in_all <= paid_credits
),
lessened AS (
    UPDATE credit_balances SET paid_credits = credit_balances.paid_credits - sums.gone_in_all
    FROM (SELECT DISTINCT professional_id, gone_in_all FROM summed WHERE gone_in_all <= paid_credits) AS sums
    WHERE credit_balances.professional_id = sums.professional_id
    RETURNING credit_balances.id, old.paid_credits AS had, new.paid_credits AS has
),
trail AS (
    INSERT INTO audit_trail (run_id, at, table_name, row_id, before, after)
    SELECT run.id, run.started_at, 'credit_balances', lessened.id,
        jsonb_build_object('paid_credits', had), jsonb_build_object('paid_credits', has)
    FROM lessened, run
)
INSERT INTO credit_transactions (professional_id, type, credit_type, lot_id, amount, free_before, free_after,
    paid_before, paid_after, created_at)
SELECT professional_id, 'expiry', 'paid', summed.id, - gone, free_credits, free_credits,
    paid_credits - gone_so_far + gone, paid_credits - gone_so_far, run.started_at
FROM summed, run WHERE gone_in_all <= paid_credits
ORDER BY professional_id, expiry, summed.id;

UPDATE runs
SET ended_at = clock_timestamp(), outcome = 'done', exit_code = 0,
    counts = (SELECT jsonb_build_object('expired_transactions', count(*), 'total_expired', - sum(amount),
            'professionals', count(DISTINCT professional_id))
        FROM credit_transactions WHERE type = 'expiry')
WHERE ended_at IS NULL;
