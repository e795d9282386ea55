"""A refund gives back the whole of what was paid, in its currency.

What was paid is what the operation that it follows has taken, or a payment into escrow.
"""

from sqlalchemy import and_, func, or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import wallet_transactions
from jobctl.tables.types import inline

ours, taking, escrow = money_operations.c, money_operations.alias("taking"), wallet_transactions.c
of_escrow = and_(
    ours.subject == inline(wallet_transactions.info["subject"]),
    ours.subject_id == escrow.id,
    ours.payment_id == escrow.reference,
)
paid_minor = func.coalesce(taking.c.amount_minor, escrow.amount_minor)
currency = func.coalesce(taking.c.currency, escrow.currency)
broken = (
    select(
        ours.id,
        ours.subject,
        ours.subject_id,
        ours.payment_id,
        ours.amount_minor,
        ours.currency,
        paid_minor.label("paid_minor"),
        currency.label("paid_currency"),
    )
    .select_from(
        money_operations.outerjoin(taking, taking.c.id == ours.follows).outerjoin(
            wallet_transactions, of_escrow
        )
    )
    .where(
        ours.kind == inline("refund"),
        ours.status == inline("succeeded"),
        or_(ours.amount_minor != paid_minor, ours.currency != currency),
    )
)

RULE = Rule(__name__, __doc__, money_operations, broken)
