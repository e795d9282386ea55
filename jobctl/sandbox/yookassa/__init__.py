"""YooKassa: payments with saved cards, holds, captures, cancellations, refunds, lists (API reference, v3)."""
