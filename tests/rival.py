"""The application's webhook handler, as docs/writers.md has it: a rival of the matching jobs.

It shares no code with them, so that what both write tells whether the page can be followed. And whoever else
writes while a job is at work.
"""

import calendar
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, Executable, Table, event, func, select, text
from sqlalchemy.exc import DBAPIError

from jobctl.db import engine
from jobctl.settings import Settings
from jobctl.tables.subscriptions import payments, plans, subscription_periods, subscriptions
from tests.sandbox.client import until
from tests.world import Done, World

# After the end: the longer of SUBSCRIPTION_GRACE and the last of AUTOPAYMENT_RETRY_DAYS, by the defaults.
TOO_LATE = timedelta(days=4)


class Webhook(threading.Thread):
    """Applies payments, as providers tell of them, over a connection of its own."""

    def __init__(self, settings: Settings, told: Iterable[dict[str, Any]]) -> None:
        """told: what each webhook says: provider and number, user_id, plan_id, an amount, paid_at."""
        super().__init__()
        self.settings, self.told = settings, list(told)
        self.applied = self.refused = 0

    def run(self) -> None:
        made = engine(self.settings)
        for each in self.told:
            self.handle(made, each)
        made.dispose()

    def handle(self, made: Engine, told: dict[str, Any]) -> None:
        """Begin again what another writer came before: providers send a webhook until it is taken."""
        try:
            with made.begin() as connection:
                self.applied += apply(connection, told)
        except DBAPIError:
            self.refused += 1
            self.handle(made, told)


def apply(connection: Connection, told: dict[str, Any]) -> bool:
    """Apply a payment; return whether it gave a period: one that buys none is left to a person."""
    ours, theirs = subscriptions.c, payments.c
    number = (theirs.provider == told["provider"]) & (theirs.provider_payment_id == told["number"])
    known = connection.execute(select(payments).where(number)).first()
    subscription = whose(connection, known, told)
    payment = connection.execute(select(payments).where(number).with_for_update()).first()
    if payment is not None and payment.status == "succeeded":
        return False
    if subscription and buys_nothing(subscription, payment, told):
        write_down(connection, payment, told, payment.subscription_id if payment else subscription.id)
        return False
    if subscription and not goes_on(subscription, told):
        if subscription.status == "active":
            expired = {"status": "expired", "expired_at": told["paid_at"], "next_charge_at": None}
            connection.execute(subscriptions.update().where(ours.id == subscription.id).values(expired))
        subscription = None
    start = subscription.ended_at if subscription else told["paid_at"]
    anchor = subscription.billing_anchor_day if subscription else start.day
    (plan,) = connection.execute(select(plans).where(plans.c.id == told["plan_id"]))
    assert (plan.unit, plan.every) == ("month", 1), "all that this application sells"
    end = a_month_after(start, anchor)
    if subscription:
        connection.execute(
            subscriptions.update().where(ours.id == subscription.id).values(ended_at=end, next_charge_at=None)
        )
        subscription_id = subscription.id
    else:
        subscription_id = insert(
            connection,
            subscriptions,
            user_id=told["user_id"],
            plan_id=told["plan_id"],
            currency=told["currency"],
            started_at=start,
            ended_at=end,
            billing_anchor_day=anchor,
            created_at=told["paid_at"],
        )
    payment_id = write_down(connection, payment, told, subscription_id)
    insert(
        connection,
        subscription_periods,
        subscription_id=subscription_id,
        payment_id=payment_id,
        period_start=start,
        period_end=end,
        created_at=told["paid_at"],
    )
    return True


def write_down(
    connection: Connection, payment: Any, told: dict[str, Any], subscription_id: int | None
) -> int:
    paid: dict[str, Any] = {"status": "succeeded", "subscription_id": subscription_id}
    paid |= dict.fromkeys(("paid_at", "confirmed_at"), told["paid_at"])
    if payment:
        connection.execute(payments.update().where(payments.c.id == payment.id).values(paid))
        return int(payment.id)
    paid |= {name: told[name] for name in ("user_id", "plan_id", "provider", "amount_minor", "currency")}
    paid |= {"provider_payment_id": told["number"], "created_at": told["paid_at"]}
    return insert(connection, payments, **paid)


def whose(connection: Connection, payment: Any, told: dict[str, Any]) -> Any:
    """Return the subscription that a payment is for, locked."""
    ours = subscriptions.c
    own = None
    if payment is not None and payment.subscription_id is not None:
        its = select(subscriptions).where(ours.id == payment.subscription_id).with_for_update()
        own = connection.execute(its).first()
    if own is not None and own.status == "active":
        return own
    of = told if payment is None else {"user_id": payment.user_id, "plan_id": payment.plan_id}
    buyer = (ours.user_id == of["user_id"]) & (ours.plan_id == of["plan_id"])
    unknown = (ours.status == "cancelled") & ours.cancelled_at.is_(None)
    for each in (ours.status == "active", (ours.cancelled_at >= told["paid_at"]) | unknown):
        found = connection.execute(select(subscriptions).where(buyer, each).with_for_update()).first()
        if found is not None:
            return found
    return own


def buys_nothing(subscription: Any, payment: Any, told: dict[str, Any]) -> bool:
    """Tell whether there is no period that a payment could pay for."""
    at = subscription.cancelled_at
    since = at is not None and at >= told["paid_at"] and not goes_on(subscription, told)
    if subscription.status == "cancelled" or since or payment is None:
        return subscription.status == "cancelled" or since
    other = subscription.status == "active" and subscription.plan_id != payment.plan_id
    late = payment.period_start not in (None, subscription.ended_at)
    return other or late or bool(subscription.user_id != payment.user_id)


def goes_on(subscription: Any, told: dict[str, Any]) -> bool:
    return subscription.status == "active" and bool(subscription.ended_at > told["paid_at"] - TOO_LATE)


def a_month_after(start: datetime, anchor: int) -> datetime:
    year, month = (start.year + 1, 1) if start.month == 12 else (start.year, start.month + 1)
    return start.replace(year=year, month=month, day=min(anchor, calendar.monthrange(year, month)[1]))


def insert(connection: Connection, table: Any, **values: Any) -> int:
    key = connection.execute(table.insert().values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def met_last(world: World, table: Table, row_id: int) -> None:
    """Have PostgreSQL find rows by scans of their tables, and in this one a row after all others."""
    with psycopg.connect(str(world.settings.database_url), autocommit=True) as connection:
        for way in ("indexscan", "bitmapscan", "indexonlyscan"):
            named = f"ALTER DATABASE {connection.info.dbname} SET enable_{way} = off"
            connection.execute(named.encode())
        last = f"SELECT id FROM {table} ORDER BY ctid DESC LIMIT 1".encode()
        while connection.execute(last).fetchone() != (row_id,):
            connection.execute(f"UPDATE {table} SET id = id WHERE id = {row_id}".encode())


@contextmanager
def once_chosen(world: World, change: Executable, chosen: str) -> Iterator[None]:
    """Have another connection commit a change as soon as a run has locked the rows that it found due.

    chosen: how the statement ends that does so.
    """
    rival = engine(world.settings)
    done: list[str] = []

    def after(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not done and statement.endswith(chosen):
            done.append(statement)
            with rival.begin() as connection:
                # One that waits for the run itself would wait for ever: both are in one thread.
                connection.execute(text("SET LOCAL lock_timeout = '10s'"))
                connection.execute(change)

    event.listen(Engine, "after_cursor_execute", after)
    try:
        yield
    finally:
        event.remove(Engine, "after_cursor_execute", after)
        rival.dispose()
    assert done, "no row was chosen"


Change = Executable | Callable[[Connection], object]


def while_held(
    world: World,
    change: Change,
    run: Callable[[], Done],
    *,
    once: Callable[[], object] | None = None,
    then: Callable[[], object] = lambda: None,
    more: Change | None = None,
) -> Done:
    """Run a job while another session has made a change, which it commits once the job waits for that.

    once: makes the change when this is so, and not before the job begins; then: what is to be done after it;
    more: what else it changes while the job waits. Where a job ends without a wait it commits afterwards.
    On PostgreSQL.
    """
    url = str(world.settings.database_url)
    with ThreadPoolExecutor(1) as pool, world.engine.connect() as rival, psycopg.connect(url) as observer:
        observer.autocommit = True
        if once is None:
            make(rival, change)
        done = pool.submit(run)
        if once is not None:
            until(once)
            make(rival, change)
            then()
        until(lambda: done.done() or is_waited_for(observer))
        if more is not None:
            make(rival, more)
        rival.commit()
        return done.result(60)


def make(connection: Connection, change: Change) -> None:
    if isinstance(change, Executable):
        connection.execute(change)
    else:
        change(connection)


def is_waited_for(observer: "psycopg.Connection[Any]") -> bool:
    """Tell whether a session of that database waits for a lock that another holds."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
    found = observer.execute(f"{waiting} current_database()").fetchone()
    assert found is not None
    return int(found[0]) > 0


READ, UNTIL_FREE = 4711, "(SELECT pg_advisory_xact_lock({})::text) IS NOT NULL"


def once_read(world: World, changes: Sequence[Executable], run: Callable[[], Done]) -> Done:
    """Run a job, of which the first statement that locks rows waits between reading and locking them.

    Meanwhile another session commits changes: the statement locks rows as they are then, and sees what lies
    beside them as it was. On PostgreSQL, which is made to wait by a condition more.
    """
    held: list[str] = []

    def hold(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if not held and "SKIP LOCKED" in statement:
            held.append(statement)
            statement = statement.replace("WHERE ", f"WHERE {UNTIL_FREE.format(READ)} AND ", 1)
        return statement, parameters

    def commit(_: Connection) -> None:
        with world.engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            for each in changes:
                connection.execute(each)

    event.listen(Engine, "before_cursor_execute", hold, retval=True)
    try:
        done = while_held(world, select(func.pg_advisory_xact_lock(READ)), run, more=commit)
    finally:
        event.remove(Engine, "before_cursor_execute", hold)
    assert held, "nothing was locked"
    return done
