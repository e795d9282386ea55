"""No wallet's balance is below zero."""

from sqlalchemy import select

from jobctl.invariants.rule import Rule
from jobctl.tables.marketplace import wallets

ours = wallets.c
broken = select(ours.id, ours.kind, ours.currency, ours.balance_minor).where(ours.balance_minor < 0)

RULE = Rule(__name__, __doc__, wallets, broken)
