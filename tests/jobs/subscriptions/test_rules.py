"""What holds of payments for subscriptions whoever writes beside us, and whatever a provider's list has."""

from typing import Any

import pytest
from sqlalchemy import select, text, update

from jobctl.errors import Exit
from jobctl.money import Money
from jobctl.providers.protocol import Refund
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.subscriptions import payments, subscription_periods, subscriptions
from tests.rival import apply, while_held
from tests.subscribers import USUAL, Club
from tests.world import NOW

AUTOPAYMENTS, SETTLER = "autopayments", "settle-operations"
PENDING, SUCCESSFUL = "matching-pending-payments", "matching-successful-payments"
DECLINES = {"stripe": "pm_card_visa_chargeDeclinedInsufficientFunds", "yookassa": "pm_yk_insufficient_funds"}


@pytest.mark.only("postgresql")
class TestLocks:
    @pytest.mark.parametrize("job", [PENDING, SUCCESSFUL])
    def test_two_payments_of_one_subscription_at_the_same_moment_give_two_periods(
        self, club: Club, job: str
    ) -> None:
        """The second one begins where the first ends, also where no unique index refuses it."""
        made = club.member(next_charge_at=None)
        user = club.of(made).user_id
        ours, theirs = club.pay(user), club.pay(user, metadata={})
        if job == PENDING:
            club.begun(user, ours, subscription_id=made)
        told = {"provider": club.provider, "number": theirs, "user_id": user, "plan_id": club.plan}
        told |= {"amount_minor": 50_000, "currency": "RUB", "paid_at": NOW}
        without_index(club)
        while_held(club.world, lambda connection: apply(connection, told), lambda: club.run(job))
        periods = club.periods(made)
        assert len(periods) == 3
        assert [each.period_end for each in periods[:-1]] == [each.period_start for each in periods[1:]]
        assert club.of(made).ended_at == periods[-1].period_end

    def test_a_subscription_is_locked_before_its_payment(self, club: Club) -> None:
        """As the application does; the other way round they would wait for each other."""
        made = club.member(next_charge_at=None)
        user = club.of(made).user_id
        payment = club.begun(user, club.pay(user), subscription_id=made)
        hers = select(subscriptions).where(subscriptions.c.id == made).with_for_update()
        then = select(payments).where(payments.c.id == payment).with_for_update(nowait=True)
        done = while_held(club.world, hers, lambda: club.run(PENDING), more=then)
        assert done.counts == {"applied": 1}

    def test_a_payment_that_somebody_ends_while_its_charge_is_settled_stays_so(self, club: Club) -> None:
        made = club.member(DECLINES[club.provider])
        club.sandbox.fault("lost_answer", "charge")
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNKNOWN_OUTCOME
        club.pass_time(minutes=5)
        (payment,) = club.renewals(made)
        end = update(payments).where(payments.c.id == payment.id).values(status="expired", expired_at=NOW)
        assert while_held(club.world, end, lambda: club.run(SETTLER)).counts == {"declined": 1}
        assert club.paid(payment.id).status == "expired"

    def test_a_payment_that_is_corrected_meanwhile_is_held_against_what_was_paid_as_it_is_then(
        self, club: Club
    ) -> None:
        user = club.buyer()
        payment = club.begun(user, club.pay(user), status="expired")
        correct = update(payments).where(payments.c.id == payment).values(amount_minor=60_000)
        assert while_held(club.world, correct, lambda: club.run(PENDING)).counts == {"payment mismatch": 1}
        assert (club.paid(payment).status, club.subscriptions_of(user)) == ("expired", [])


def without_index(club: Club) -> None:
    found = (
        "SELECT conname FROM pg_constraint WHERE conrelid = 'subscription_periods'::regclass "
        "AND contype = 'u' AND array_length(conkey, 1) = 2"
    )
    with club.world.engine.begin() as connection:
        name = connection.scalar(text(found))
        connection.execute(text(f"ALTER TABLE subscription_periods DROP CONSTRAINT {name}"))


class TestNotSentYet:
    """A charge that was journalled and not sent, as a run leaves it that has to stop."""

    @pytest.mark.parametrize("meanwhile", ["cancelled", "expired", "paid by hand"])
    def test_it_is_never_sent_once_its_subscription_has_ended_or_its_period_was_paid(
        self, club: Club, meanwhile: str
    ) -> None:
        made = club.member()
        club.sandbox.fault("http_429", "charge", seconds=3600)
        club.run(AUTOPAYMENTS)
        club.sandbox.clear_faults()
        (operation,) = club.world.rows(money_operations)
        unsent: dict[str, Any] = dict.fromkeys(("first_sent_at", "answer_by", "settled_at", "code", "reason"))
        club.world.change(money_operations, operation.id, status="started", concluded_at=None, **unsent)
        later = club.of(made).ended_at.replace(month=4)
        values = {"ended_at": later} if meanwhile == "paid by hand" else {"status": meanwhile}
        club.world.change(subscriptions, made, **values)
        for _ in range(3):
            club.pass_time(minutes=10)
            club.run(SETTLER)
        (operation,) = club.world.rows(money_operations)
        assert (operation.status, operation.code) == ("rejected", "not_wanted")
        assert club.sandbox.ledger() == []
        assert club.renewals(made)[0].status == "cancelled"


class TestGivenBack:
    """A payment that its provider lists or answers as given back gives nobody anything."""

    def given_back(self, club: Club, user: int) -> str:
        number = club.pay(user)
        club.at_provider(Refund(number, Money(50_000, "RUB")))
        return number

    @pytest.mark.parametrize("status", ["pending", "expired", "cancelled", None])
    def test_it_is_left_to_a_person_and_not_given_back_again(self, club: Club, status: str | None) -> None:
        """Whether it waits here, was given up, or is not here at all."""
        user = club.buyer()
        number = self.given_back(club, user)
        if status is not None:
            club.begun(user, number, status=status)
        before = club.sandbox.ledger()
        for _ in range(2):
            for job in (PENDING, SUCCESSFUL, SETTLER):
                club.run(job)
            club.pass_time(hours=25)
        assert len(club.world.rows(findings)) == 1
        assert (club.subscriptions_of(user), club.world.rows(subscription_periods)) == ([], [])
        assert [each.status for each in club.payments_of(user)] == ([status] if status else [])
        assert (club.sandbox.ledger(), club.world.rows(money_operations)) == (before, [])


class TestForeign:
    """A payment of somebody else that carries the reference of an operation of ours changes nothing."""

    def declined(self, club: Club) -> tuple[int, Any]:
        made = club.member(DECLINES[club.provider])
        assert club.run(AUTOPAYMENTS).counts == {"declined": 1}
        (operation,) = [each for each in club.world.rows(money_operations) if each.kind == "charge"]
        return made, operation

    def unchanged(self, club: Club, made: int, operation: Any) -> None:
        before = club.of(made), club.payments_of(club.of(made).user_id), club.world.rows(money_operations)
        for job in (PENDING, SUCCESSFUL, SETTLER):
            club.run(job)
        after = club.of(made), club.payments_of(club.of(made).user_id), club.world.rows(money_operations)
        assert after == before
        assert operation.status == "declined"
        assert {each.kind for each in club.world.rows(findings)} == {"orphan payment"}

    def pay_with(self, club: Club, made: int, operation: Any) -> None:
        """Pay, with all that a payment of ours has in its metadata, and that reference."""
        told = {"user_id": str(club.of(made).user_id), "plan_id": str(club.plan)}
        told |= {"payment_provider_id": club.provider}
        club.pay(metadata={**told, "jobctl_key": operation.key})

    def test_one_with_another_number(self, club: Club) -> None:
        made, operation = self.declined(club)
        assert operation.payment_id is not None
        self.pay_with(club, made, operation)
        self.unchanged(club, made, operation)

    def test_one_at_another_provider(self, club: Club) -> None:
        made, operation = self.declined(club)
        (club.provider,) = set(USUAL) - {club.provider}
        self.pay_with(club, made, operation)
        club.world.change(money_operations, operation.id, payment_id=None)
        self.unchanged(club, made, operation)
