"""Stripe: PaymentIntents with cards, captures, cancellations, refunds."""
