"""Paystack: transactions that customers have made, their verification, lists, refunds (API reference)."""
