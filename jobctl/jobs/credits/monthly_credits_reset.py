"""Give verified professionals their free credits of the month.

Each has exactly MONTHLY_FREE_CREDITS afterwards, whatever was left of the last month's; paid credits stay as
they are. It is done once for a professional and calendar month (UTC), by whatever did it, so that a daily run
finishes the rest, and does it for those who are verified in the month. A month that was missed can be made up
for as long as no later one is done.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, or_, select

from jobctl.errors import UsageError
from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.tables.credits import RESET, credit_balances, credit_transactions, professionals
from jobctl.tables.notifications import users
from jobctl.tables.types import inline

balance, moved = credit_balances.c, credit_transactions.c
people = professionals.join(users, users.c.id == professionals.c.user_id)
balances = credit_balances.join(professionals, professionals.c.id == balance.professional_id).join(
    users, users.c.id == professionals.c.user_id
)
SINCE = "which month is done: that of which it is the first day (2026-11-01, say); without it this month"


def first(at: At) -> datetime:
    """Return when the month begins that is done; raises UsageError for a --since that is no such instant."""
    this = at.now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if at.since and at.since != at.since.replace(day=1, hour=0, minute=0, second=0, microsecond=0):
        raise UsageError(f"--since names the month to do by its first day, such as {this:%Y-%m-%d}")
    return at.since or this


def month(at: At) -> str:
    return f"{first(at):%Y-%m}"


def verified() -> dict[str, ColumnElement[bool]]:
    return {
        "the professional's verification is basic or comprehensive": professionals.c.verification_status.in_(
            [inline("basic"), inline("comprehensive")]
        ),
        "the professional is still here": users.c.deleted_at.is_(None),
    }


def without(at: At) -> Due:
    first(at)  # refuses another day here too, before anything is given
    has_one = exists(select(balance.id).where(balance.professional_id == professionals.c.id))
    conditions = verified() | {"the professional has no balance": ~has_one}
    return Due(people, conditions, since_means=SINCE, locks=[users])


def begin(at: At, batch: BatchChanges) -> None:
    whole = at.settings.monthly_free_credits
    batch.insert(
        credit_balances,
        professional_id=professionals.c.id,
        free_credits=whole,
        last_reset_at=at.now,
        created_at=at.now,
    )
    record(at, batch, professionals.c.id, free=0, paid=0)


def due(at: At) -> Due:
    # That of a later month too: what was spent since must not be given anew.
    done = exists(
        select(moved.id).where(moved.professional_id == balance.professional_id, moved.period >= month(at))
    )
    return Due(
        balances,
        verified()
        | {
            "the balance was not reset for the month, nor for a later one": ~done,
            "nor was it, by whatever wrote down no month, since the month began": not_since(first(at)),
        },
        since_means=SINCE,
        locks=[professionals, users],
    )


def not_since(begin: datetime) -> ColumnElement[bool]:
    """Hold where `last_reset_at` is older, or of a reset that is written down with its month."""
    told = exists(
        select(moved.id).where(
            moved.professional_id == balance.professional_id,
            moved.type == inline(RESET),
            moved.created_at == balance.last_reset_at,
        )
    )
    return or_(balance.last_reset_at.is_(None), balance.last_reset_at < begin, told)


def reset(at: At, batch: BatchChanges) -> None:
    batch.update(free_credits=at.settings.monthly_free_credits, last_reset_at=at.now)
    record(at, batch, balance.professional_id, free=balance.free_credits, paid=balance.paid_credits)


def record(at: At, batch: BatchChanges, professional: ColumnElement[Any], *, free: Any, paid: Any) -> None:
    """Write down by how much free credits change, and tell the professional."""
    whole, of = at.settings.monthly_free_credits, month(at)
    batch.insert(
        credit_transactions,
        professional_id=professional,
        type=RESET,
        credit_type="free",
        period=of,
        amount=whole - free,
        free_before=free,
        free_after=whole,
        paid_before=paid,
        paid_after=paid,
        created_at=at.now,
    )
    batch.notify(
        "credits-reset",
        to=professionals.c.user_id,
        once=[of],
        category="credits",
        context={"free_credits": whole},
    )


JOB = (SetStep(without, begin, "reset"), SetStep(due, reset, "reset"))
