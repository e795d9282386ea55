-- What `escrow-release` leaves behind, written by hand: the released transactions, the postings with their
-- entries, the wallets' balances, the audit rows, the run record. One statement does it for all of them.
WITH run AS (
    INSERT INTO runs (job, started_at, outcome, counts, options, host, pid, version)
    VALUES ('escrow-release', clock_timestamp(), 'running', '{}', '{}', 'by hand', pg_backend_pid(), '0')
    RETURNING id, started_at,
        to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS written
),
due AS (
    SELECT held.id, held.amount_minor, held.currency, held.fee_basis_points,
        coalesce(held.fee_basis_points, 1000) AS points, creators.id AS creator, platform.id AS platform
    FROM wallet_transactions AS held
    JOIN requests ON requests.id = held.request_id AND requests.status = 'completed'
        AND coalesce(requests.dispute, '') <> 'open'
    JOIN wallets AS creators ON creators.user_id = requests.creator_id
        AND creators.currency = held.currency AND creators.status IN ('active', 'frozen')
    JOIN wallets AS platform ON platform.kind = 'platform'
        AND platform.currency = held.currency AND platform.status IN ('active', 'frozen')
    WHERE held.status = 'completed' AND held.escrow_status = 'pending'
    FOR UPDATE OF held, requests
),
shared AS (
    SELECT due.*, amount_minor * points / 10000 + CASE
        WHEN mod(amount_minor * points, 10000) > 5000 THEN 1
        WHEN mod(amount_minor * points, 10000) = 5000 THEN mod(amount_minor * points / 10000, 2)
        ELSE 0 END AS fee
    FROM due
),
changed AS (
    UPDATE wallet_transactions AS held
    SET escrow_status = 'released', released_at = run.started_at, release_reason = 'request completed',
        fee_basis_points = shared.points
    FROM shared, run WHERE held.id = shared.id
),
posted AS (
    INSERT INTO ledger_postings (wallet_transaction_id, kind, currency, created_at)
    SELECT shared.id, 'release', currency, run.started_at FROM shared, run
),
entered AS (
    INSERT INTO ledger_entries (wallet_transaction_id, kind, line, account, wallet_id, amount_minor)
    SELECT id, 'release', line, account, wallet, amount
    FROM shared, LATERAL (VALUES (1, 'escrow', NULL::bigint, - amount_minor),
        (2, 'wallet', creator, amount_minor - fee), (3, 'wallet', platform, fee)
    ) AS lines (line, account, wallet, amount)
),
grown AS (
    UPDATE wallets SET balance_minor = balance_minor + total
    FROM (SELECT wallet, sum(amount) AS total FROM (
        SELECT creator AS wallet, amount_minor - fee AS amount FROM shared UNION ALL
        SELECT platform, fee FROM shared
    ) AS amounts GROUP BY wallet) AS sums
    WHERE wallets.id = sums.wallet
)
INSERT INTO audit_trail (run_id, at, table_name, row_id, before, after)
SELECT run.id, run.started_at, 'wallet_transactions', shared.id,
    jsonb_build_object('escrow_status', 'pending', 'released_at', NULL, 'release_reason', NULL,
        'fee_basis_points', fee_basis_points),
    jsonb_build_object('escrow_status', 'released', 'released_at', run.written,
        'release_reason', 'request completed', 'fee_basis_points', points)
FROM shared, run;

UPDATE runs
SET ended_at = clock_timestamp(), outcome = 'done', exit_code = 0,
    counts = jsonb_build_object('released', (SELECT count(*) FROM audit_trail WHERE run_id = runs.id))
WHERE ended_at IS NULL;
