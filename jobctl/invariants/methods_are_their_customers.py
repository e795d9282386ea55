"""An order goes by a payment method of its own customer."""

from sqlalchemy import select

from jobctl.invariants.rule import Rule
from jobctl.tables.sessions import orders, payment_methods
from jobctl.tables.types import inline

ours = orders.c
broken = (
    select(
        ours.id,
        ours.payment_status,
        ours.customer_id,
        ours.payment_method_id,
        payment_methods.c.user_id.label("method_user_id"),
    )
    .select_from(orders.join(payment_methods, payment_methods.c.id == ours.payment_method_id))
    .where(ours.status == inline("complete"), payment_methods.c.user_id != ours.customer_id)
)

RULE = Rule(__name__, __doc__, orders, broken)
