"""A world in which every domain's jobs ran, and ways to have in it what the database itself would refuse."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Table

from jobctl.errors import Exit
from jobctl.sandbox import Sandbox
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import wallets
from jobctl.tables.subscriptions import subscriptions
from tests import bazaar, payments
from tests.credits import Office
from tests.payments import PROCESSOR
from tests.subscribers import Club
from tests.world import NOW, World, ago, ahead

# With the role that owns the tables, which need not be a superuser.
UNGUARDED = (
    "ALTER TABLE ledger_entries DISABLE TRIGGER USER",
    "ALTER TABLE ledger_postings DISABLE TRIGGER USER",
    "ALTER TABLE wallets DROP CONSTRAINT ck_wallets_balance_minor",
    "ALTER TABLE wallet_transactions DROP CONSTRAINT ck_wallet_transactions_released",
    "ALTER TABLE wallet_transactions DROP CONSTRAINT ck_wallet_transactions_request_id",
)


@dataclass
class Lived:
    """Rows of every kind, by their numbers; all of them sound."""

    club: Club
    wallet: int  # of a creator, with one entry
    released: int  # transactions
    escrowed: int
    captured: int  # orders
    authorized: int
    member: int  # a subscription that was renewed
    professional: int  # whose credits were reset, and some expired
    message: int

    @property
    def world(self) -> World:
        return self.club.world

    def change(self, table: Table, row_id: int, **values: Any) -> int:
        self.world.change(table, row_id, **values)
        return row_id

    def of(self, table: Table, **values: Any) -> Any:
        """Return the one row that has these values."""
        rows = self.world.rows(table)
        (row,) = (
            each for each in rows if all(getattr(each, name) == value for name, value in values.items())
        )
        return row

    def operation(self, **values: Any) -> int:
        """Add to the journal, of the captured order, a capture of another payment that succeeded."""
        number = len(self.world.rows(money_operations))
        given = {
            "key": f"x.capture.{number}",
            "kind": "capture",
            "subject": "order",
            "subject_id": self.captured,
            "cycle": f"hold-{number}",
            "attempt": 1,
            "provider": "stripe",
            "account": "test",
            "request": {},
            "payment_id": f"pi_{number}",
            "amount_minor": 4500,
            "currency": "USD",
            "run_id": 1,
            "created_at": NOW,
            "status": "succeeded",
            "settled_at": NOW,
        }
        return self.world.add(money_operations, given | values)

    def paid(self, **values: Any) -> int:
        """Add a payment for the renewed subscription that succeeded and has no period."""
        renewed = self.club.of(self.member)
        given = {"user_id": renewed.user_id, "subscription_id": self.member, "status": "succeeded"}
        return self.club.payment(**given | {"provider_payment_id": "later", "paid_at": NOW} | values)

    def force(self, *statements: str) -> None:
        """Execute what the database, or a trigger of it, refuses."""
        if url := self.world.settings.database_url:
            with psycopg.connect(url, autocommit=True) as connection:
                for each in (*UNGUARDED, *statements):
                    connection.execute(each.encode())
            return
        with closing(sqlite3.connect(self.world.settings.embedded_path, isolation_level=None)) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for each in (*(f"DROP TRIGGER {name}" for (name,) in triggers), *statements):
                connection.execute(each)


def live(world: World, sandbox: Sandbox) -> Lived:
    """Have the jobs of every domain do something."""
    club = Club(world, sandbox=sandbox)
    member = renewed_and_reconciled(club)
    captured, authorized = paid_sessions(payments.Market(world, sandbox))
    wallet, released, escrowed = released_escrow(bazaar.Bazaar(world, sandbox))
    professional = reset_and_expired(Office(world))
    message = world.message()
    assert world.send().exit_code == Exit.DONE
    return Lived(club, wallet, released, escrowed, captured, authorized, member, professional, message)


def renewed_and_reconciled(club: Club) -> int:
    """Renew a subscription, record a lost payment, and find one that cannot be applied."""
    member, left = club.member(), club.member(status="cancelled", cancelled_at=ago(days=1))
    assert club.run("autopayments").counts == {"renewed": 1}
    club.pay(club.buyer())
    late = club.begun(club.of(left).user_id, club.pay(club.of(left).user_id), subscription_id=left)
    club.run("matching-pending-payments")
    club.run("matching-successful-payments")
    assert [each.kind for each in club.world.rows(findings)] == ["payment not applied"]
    assert club.paid(late).status == "succeeded"
    assert len(club.world.rows(subscriptions)) == 3
    return member


def paid_sessions(booked: payments.Market) -> tuple[int, int]:
    """Capture an order, charge its extension, release another hold, and leave a third as it is."""
    session = booked.past_session()
    captured = booked.held(session)
    booked.order(session, parent_order_id=captured, amount_minor=1500)
    booked.held(booked.past_session("none_showed"))
    authorized = booked.held(booked.session(starts_at=ahead(hours=3)))
    assert booked.run(PROCESSOR).counts == {"captured": 2, "released": 1}
    return captured, authorized


def reset_and_expired(office: Office) -> int:
    """Reset somebody's credits, expire one lot of theirs, and leave another one as it is."""
    professional = office.professional(email=None)
    office.lot(professional, 40, ago(days=1))
    office.lot(professional, 20, ahead(days=30))
    assert office.run("monthly-credits-reset").counts == {"reset": 1}
    assert office.run("credit-expiry").exit_code == Exit.DONE
    office.agree()
    return professional


def released_escrow(asked: bazaar.Bazaar) -> tuple[int, int, int]:
    """Release one escrow of two."""
    released, escrowed = asked.paid(), asked.transaction(asked.request())
    creator = asked.asked(asked.moved(released).request_id).creator_id
    wallet = asked.wallet(creator)
    asked.wallet(None)
    assert asked.world.run("escrow-release").counts == {"released": 1}
    assert len(asked.world.rows(wallets)) == 2
    return wallet, released, escrowed
