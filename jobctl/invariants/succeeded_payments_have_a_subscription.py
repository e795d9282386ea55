"""A payment that succeeded has its subscription and a period of it, or it is given back, or left to a person.

By docs/writers.md there is no period for a cancelled subscription or a period that was paid already: what the
jobs charged they pay back, and find of another payment that it was not applied; the application leaves its
own to a person, who needs no finding.
"""

from sqlalchemy import and_, exists, or_, select

from jobctl.invariants.rule import Rule
from jobctl.tables.findings import findings
from jobctl.tables.journal import is_open, money_operations
from jobctl.tables.subscriptions import payments, subscription_periods, subscriptions
from jobctl.tables.types import inline

ours, operations = payments.c, money_operations.c
has_period = exists(select(subscription_periods.c.id).where(subscription_periods.c.payment_id == ours.id))
found_as = inline("payment not applied.") + ours.provider + inline(".") + ours.provider_payment_id
is_found = exists(select(findings.c.id).where(findings.c.once_key == found_as))
being_given_back = exists(
    select(operations.id).where(
        operations.subject == inline(subscriptions.info["subject"]),
        operations.subject_id == ours.subscription_id,
        operations.kind == inline("refund"),
        operations.provider == ours.provider,
        operations.payment_id == ours.provider_payment_id,
        is_open,
    )
)
charge = select(operations.id).where(operations.key == ours.reference)
# The application was told of a charge before the journal was, which will pay it back where need be.
under_way = exists(
    charge.where(or_(operations.status != inline("succeeded"), operations.settled_at.is_(None)))
)
is_cancelled = exists(
    select(subscriptions.c.id).where(
        subscriptions.c.id == ours.subscription_id, subscriptions.c.status == inline("cancelled")
    )
)
for_a_person = and_(~exists(charge), or_(is_cancelled, ours.period_start.is_not(None)))
broken = select(
    ours.id,
    ours.provider,
    ours.provider_payment_id,
    ours.amount_minor,
    ours.currency,
    ours.paid_at,
    ours.subscription_id,
    has_period.label("has_period"),
).where(
    ours.status == inline("succeeded"),
    or_(ours.subscription_id.is_(None), and_(~has_period, ~for_a_person)),
    ours.refunded_at.is_(None),
    ~is_found,
    ~being_given_back,
    ~under_way,
)

RULE = Rule(__name__, __doc__, payments, broken)
