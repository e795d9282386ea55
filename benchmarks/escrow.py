"""The release of 50,000 escrows, against SQL by hand that leaves the same rows (`escrow_release.sql`).

Balances, postings, entries and audit rows are compared, row by row, before a figure is printed.
"""

from benchmarks.bulk import PEOPLE, Bulk, compared, seed
from benchmarks.world import arguments, postgres_world, server

ROWS, QUICK = 50_000, 10_000
WALLETS = """
INSERT INTO wallets (kind, user_id, currency, balance_minor, created_at)
SELECT 'platform', NULL, 'NGN', 0, now() UNION ALL
SELECT 'user', n, 'NGN', 0, now() FROM generate_series(1, :users) AS numbers(n)
"""
# Of a hundred completed requests one has an open dispute; half the payments name their fee.
REQUESTS = """
INSERT INTO requests (user_id, creator_id, amount_minor, currency, status, dispute, paid_at, completed_at,
    created_at)
SELECT n % :users + 1, (7 * n + 3) % :users + 1, 1000 + n % 9999, 'NGN', 'completed',
    CASE WHEN n > :rows THEN 'open' END, now(), now(), now()
FROM generate_series(1, :rows + :rows / 100) AS numbers(n)
"""
PAID = """
INSERT INTO wallet_transactions (request_id, user_id, provider, reference, amount_minor, currency,
    fee_basis_points, status, escrow_status, paid_at, created_at)
SELECT id, user_id, 'paystack', 'ref-' || id, amount_minor, currency,
    CASE WHEN id % 2 = 0 THEN 250 + id % 1000 END, 'completed', 'pending', now(), now() FROM requests
"""
BULK = Bulk(
    "escrow-release",
    (PEOPLE, WALLETS, REQUESTS, PAID),
    "escrow_release.sql",
    "wallet_transactions",
    "released_at",
    {
        "wallets": "to_jsonb(ours) FROM wallets AS ours",
        "ledger_postings": "to_jsonb(ours) - ARRAY['id', 'created_at'], ours.created_at = began "
        "FROM ledger_postings AS ours",
        "ledger_entries": "to_jsonb(ours) - 'id' FROM ledger_entries AS ours",
    },
)


def main() -> None:
    rows = QUICK if arguments(__doc__).quick else ROWS
    with server() as url, postgres_world(url) as world:
        seed(world, BULK, rows)
        compared(world, BULK, rows)


if __name__ == "__main__":
    main()
