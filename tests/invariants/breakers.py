"""For each rule, facts that break it: each returns the number of the one row that does."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from jobctl.tables.credits import credit_balances, credit_transactions, professionals
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations
from jobctl.tables.marketplace import ledger_entries, ledger_postings, requests, wallet_transactions, wallets
from jobctl.tables.notifications import notifications, users
from jobctl.tables.sessions import orders, payment_methods
from jobctl.tables.subscriptions import payments, subscription_periods, subscriptions
from tests.invariants.lived import Lived
from tests.world import NOW, ago

Breaker = Callable[[Lived], int]
BREAKERS: dict[str, list[Breaker]] = {}


def breaks(rule: str) -> Callable[[Breaker], Breaker]:
    def added(breaker: Breaker) -> Breaker:
        BREAKERS.setdefault(rule, []).append(breaker)
        return breaker

    return added


# ── credits ──────────────────────────────────────────────────────────────────────────────────────


def balance_of(lived: Lived) -> int:
    return int(lived.of(credit_balances, professional_id=lived.professional).id)


@breaks("paid-credits-are-in-lots")
def a_lot_that_was_spent_alone(lived: Lived) -> int:
    lot = lived.of(credit_transactions, type="purchase", remaining_amount=20)
    lived.change(credit_transactions, lot.id, remaining_amount=5)
    return balance_of(lived)


@breaks("paid-credits-are-in-lots")
def paid_credits_without_any_lot(lived: Lived) -> int:
    given = {"user_id": lived.world.user(), "verification_status": "none", "created_at": NOW}
    other = lived.world.add(professionals, given)
    return lived.world.add(credit_balances, {"professional_id": other, "paid_credits": 3, "created_at": NOW})


@breaks("credits-are-what-was-left")
def free_credits_that_nobody_wrote_down(lived: Lived) -> int:
    return lived.change(credit_balances, balance_of(lived), free_credits=101)


@breaks("credit-transactions-follow-each-other")
def a_transaction_of_other_balances(lived: Lived) -> int:
    reset = lived.of(credit_transactions, type="monthly_reset")
    lived.change(credit_transactions, reset.id, amount=reset.amount + 1, free_after=reset.free_after + 1)
    return int(lived.of(credit_transactions, type="expiry").id)


# ── marketplace ──────────────────────────────────────────────────────────────────────────────────


@breaks("wallet-equals-ledger")
def a_balance_that_nothing_was_entered_for(lived: Lived) -> int:
    return lived.change(wallets, lived.wallet, balance_minor=9_001)


@breaks("wallet-equals-ledger")
def one_of_a_wallet_without_entries(lived: Lived) -> int:
    user = lived.world.user()
    given = {"user_id": user, "currency": "USD", "balance_minor": 5, "created_at": NOW}
    return lived.world.add(wallets, given)


@breaks("no-negative-balance")
def more_paid_out_than_there_was(lived: Lived) -> int:
    lived.force(f"UPDATE wallets SET balance_minor = -1 WHERE id = {lived.wallet}")
    return lived.wallet


@breaks("postings-balance")
def an_amount_that_was_changed(lived: Lived) -> int:
    lived.force("UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE line = 1")
    return int(lived.of(ledger_postings).id)


@breaks("postings-balance")
def a_posting_without_entries(lived: Lived) -> int:
    given = {"wallet_transaction_id": lived.escrowed, "kind": "payout", "currency": "NGN"}
    return lived.world.add(ledger_postings, {**given, "created_at": NOW})


@breaks("entries-in-currency")
def a_wallet_of_another_currency(lived: Lived) -> int:
    lived.change(wallets, lived.wallet, currency="USD")
    return int(lived.of(ledger_entries, wallet_id=lived.wallet).id)


@breaks("escrow-released-once")
def the_same_posting_entered_twice(lived: Lived) -> int:
    # The database takes it: the entries sum to zero.
    lived.force(
        "INSERT INTO ledger_entries (wallet_transaction_id, kind, line, account, wallet_id, amount_minor) "
        "SELECT wallet_transaction_id, kind, line + 3, account, wallet_id, amount_minor FROM ledger_entries"
    )
    return lived.released


@breaks("escrow-released-once")
def a_refund_of_what_was_released(lived: Lived) -> int:
    return lived.change(wallet_transactions, lived.released, escrow_status="refunded")


@breaks("escrow-released-once")
def a_release_without_a_posting(lived: Lived) -> int:
    return lived.change(
        wallet_transactions, lived.escrowed, escrow_status="released", status="completed", paid_at=NOW
    )


@breaks("released-escrow-is-earned")
def a_request_that_is_not_completed(lived: Lived) -> int:
    request = lived.world.one(wallet_transactions, lived.released).request_id
    lived.change(requests, request, status="in_progress")
    return lived.released


@breaks("released-escrow-is-earned")
def a_payment_that_is_not_completed(lived: Lived) -> int:
    lived.force(f"UPDATE wallet_transactions SET status = 'unverified' WHERE id = {lived.released}")
    return lived.released


@breaks("released-escrow-is-earned")
def a_payment_for_no_request(lived: Lived) -> int:
    lived.force(f"UPDATE wallet_transactions SET request_id = NULL WHERE id = {lived.released}")
    return lived.released


@breaks("escrow-released-once")
def a_release_that_is_to_be_given_back(lived: Lived) -> int:
    return lived.change(wallet_transactions, lived.released, escrow_status="void")


def held(lived: Lived) -> int:
    return lived.change(wallet_transactions, lived.escrowed, status="completed", paid_at=NOW)


def refund_of(lived: Lived, payment: int, **values: Any) -> int:
    of = {"subject": "transaction", "subject_id": payment, "provider": "paystack", "kind": "refund"}
    row = lived.world.one(wallet_transactions, payment)
    money = {"payment_id": row.reference, "amount_minor": row.amount_minor, "currency": row.currency}
    return lived.operation(**of, **money, **values)


@breaks("held-escrow-is-not-given-back")
def a_refund_that_is_under_way(lived: Lived) -> int:
    refund_of(lived, held(lived), status="unknown", settled_at=None)
    return lived.escrowed


@breaks("held-escrow-is-not-given-back")
def a_refund_that_was_done(lived: Lived) -> int:
    refund_of(lived, held(lived))
    return lived.escrowed


@breaks("held-escrow-is-not-given-back")
def one_given_back_by_hand(lived: Lived) -> int:
    return lived.change(wallet_transactions, held(lived), refunded_at=NOW)


@breaks("requests-are-paid-once")
def a_second_payment_in_escrow(lived: Lived) -> int:
    request = lived.world.one(wallet_transactions, lived.released).request_id
    return lived.change(wallet_transactions, held(lived), request_id=request)


@breaks("payments-say-what-is-held")
def a_pending_payment_for_nothing(lived: Lived) -> int:
    return lived.change(wallet_transactions, lived.escrowed, escrow_status=None)


@breaks("payments-say-what-is-held")
def a_pending_payment_that_is_to_be_given_back(lived: Lived) -> int:
    return lived.change(wallet_transactions, lived.escrowed, escrow_status="void")


@breaks("payments-say-what-is-held")
def a_payment_that_nobody_holds(lived: Lived) -> int:
    return lived.change(wallet_transactions, held(lived), escrow_status=None)


@breaks("unverified-payments-have-a-finding")
def a_payment_that_nobody_was_told_of(lived: Lived) -> int:
    return lived.change(wallet_transactions, lived.escrowed, status="unverified")


@breaks("unverified-payments-have-a-finding")
def one_whose_finding_was_resolved(lived: Lived) -> int:
    unverified(lived, status="resolved", resolved_at=NOW, resolution="looked")
    return lived.escrowed


def unverified(lived: Lived, kind: str = "payment mismatch", **values: Any) -> None:
    lived.change(wallet_transactions, lived.escrowed, status="unverified")
    row = lived.world.one(wallet_transactions, lived.escrowed)
    key = {"kind": kind, "once_key": f"{kind}.{row.provider}.{row.reference}"}
    lived.world.add(findings, {**key, "reason": "no", "facts": {}, "found_at": NOW, **values})


# ── sessions and the journal ─────────────────────────────────────────────────────────────────────


def capture_of(lived: Lived) -> int:
    row = lived.of(money_operations, subject="order", subject_id=lived.captured, kind="capture")
    return int(row.id)


@breaks("captured-orders-have-one-operation")
def a_capture_that_nobody_asked_for(lived: Lived) -> int:
    lived.change(money_operations, capture_of(lived), status="declined")
    return lived.captured


@breaks("captured-orders-have-one-operation")
def a_second_capture_that_was_kept(lived: Lived) -> int:
    lived.operation()
    return lived.captured


@breaks("taken-money-has-its-order")
def money_of_which_the_order_knows_nothing(lived: Lived) -> int:
    return lived.operation(subject_id=lived.authorized)


@breaks("taken-money-has-its-order")
def an_order_that_says_it_was_released(lived: Lived) -> int:
    lived.change(orders, lived.captured, payment_status="released")
    return capture_of(lived)


@breaks("authorized-orders-have-a-hold")
def a_hold_that_the_journal_does_not_know(lived: Lived) -> int:
    return lived.change(orders, lived.authorized, payment_id="pi_other")


@breaks("authorized-orders-have-a-hold")
def no_hold_at_all(lived: Lived) -> int:
    return lived.change(orders, lived.authorized, payment_id=None)


@breaks("authorized-orders-have-a-hold")
def a_hold_that_was_declined(lived: Lived) -> int:
    held = lived.of(money_operations, subject="order", subject_id=lived.authorized).id
    lived.change(money_operations, held, status="declined")
    return lived.authorized


@breaks("orders-are-of-what-was-taken")
def an_amount_changed_while_it_was_captured(lived: Lived) -> int:
    return lived.change(orders, lived.captured, amount_minor=4000)


@breaks("orders-are-of-what-was-taken")
def a_currency_changed_while_it_is_held(lived: Lived) -> int:
    return lived.change(orders, lived.authorized, currency="EUR")


@breaks("methods-are-their-customers")
def the_card_of_somebody_else(lived: Lived) -> int:
    method = lived.world.one(orders, lived.authorized).payment_method_id
    lived.change(payment_methods, method, user_id=lived.world.user())
    return lived.authorized


@breaks("money-is-asked-of-who-owes-it")
def a_hold_for_who_was_deleted(lived: Lived) -> int:
    customer = lived.world.one(orders, lived.authorized).customer_id
    lived.change(users, customer, deleted_at=ago(minutes=11))
    return int(lived.of(money_operations, subject="order", subject_id=lived.authorized).id)


@breaks("money-is-asked-of-who-owes-it")
def one_whose_payment_was_given_back_to_somebody_else(lived: Lived) -> int:
    held = a_hold_for_who_was_deleted(lived)
    payment = lived.world.one(money_operations, held).payment_id
    lived.operation(kind="refund", subject_id=lived.captured, payment_id=payment, status="rejected")
    return held


def renewal_of(lived: Lived) -> int:
    return int(lived.of(money_operations, subject="subscription", subject_id=lived.member).id)


@breaks("money-is-asked-of-who-owes-it")
def a_renewal_for_who_was_deleted(lived: Lived) -> int:
    lived.change(users, lived.club.of(lived.member).user_id, deleted_at=ago(days=1))
    return renewal_of(lived)


@breaks("money-is-asked-of-who-owes-it")
def a_renewal_for_who_had_cancelled(lived: Lived) -> int:
    lived.change(subscriptions, lived.member, cancelled_at=ago(days=1))
    return renewal_of(lived)


@breaks("money-is-asked-of-who-owes-it")
def a_renewal_for_who_got_the_last_payment_back(lived: Lived) -> int:
    first, _ = lived.club.periods(lived.member)
    lived.change(payments, first.payment_id, refunded_at=ago(days=1))
    return renewal_of(lived)


@breaks("refunds-are-of-what-was-paid")
def half_of_it_given_back(lived: Lived) -> int:
    taken = lived.operation()
    return lived.operation(kind="refund", follows=taken, amount_minor=2250)


@breaks("refunds-are-of-what-was-paid")
def escrow_changed_while_it_was_given_back(lived: Lived) -> int:
    paid = lived.world.one(wallet_transactions, lived.escrowed)
    of = {
        "subject": "transaction",
        "subject_id": paid.id,
        "payment_id": paid.reference,
        "provider": "paystack",
    }
    return lived.operation(kind="refund", **of, amount_minor=paid.amount_minor, currency="USD")


@breaks("open-operations-are-unsettled")
def an_operation_that_nobody_will_ask_about(lived: Lived) -> int:
    return lived.operation(status="unknown")


@breaks("succeeded-operations-have-a-payment")
def a_success_without_a_number(lived: Lived) -> int:
    return lived.change(money_operations, capture_of(lived), payment_id=None)


@breaks("mismatches-have-a-finding")
def a_mismatch_that_nobody_was_told_of(lived: Lived) -> int:
    return lived.operation(status="mismatched", code="other_amount", settled_at=NOW)


@breaks("taken-money-has-its-order")
def a_second_capture_whose_refund_was_declined(lived: Lived) -> int:
    second = lived.operation()
    lived.operation(kind="refund", status="declined", settled_at=NOW, follows=second)
    return second


@breaks("compensations-go-on")
def a_refund_that_was_refused_and_forgotten(lived: Lived) -> int:
    refused = {"kind": "refund", "status": "declined", "settled_at": NOW}
    return lived.operation(**refused, follows=capture_of(lived))


@breaks("compensations-go-on")
def a_release_that_was_refused_and_forgotten(lived: Lived) -> int:
    nothing = {"amount_minor": None, "currency": None}
    return lived.operation(kind="release", status="rejected", follows=capture_of(lived), **nothing)


@breaks("compensations-go-on")
def one_beside_which_the_old_hold_was_let_go(lived: Lived) -> int:
    refused = a_refund_that_was_refused_and_forgotten(lived)
    lived.operation(kind="release", follows=capture_of(lived), amount_minor=None, currency=None)
    return refused


# ── subscriptions ────────────────────────────────────────────────────────────────────────────────


def last_period(lived: Lived) -> int:
    return int(lived.club.periods(lived.member)[-1].id)


@breaks("succeeded-payments-have-a-subscription")
def a_payment_for_nothing(lived: Lived) -> int:
    return lived.paid(subscription_id=None)


@breaks("succeeded-payments-have-a-subscription")
def a_payment_without_a_period(lived: Lived) -> int:
    return lived.paid()


@breaks("succeeded-payments-have-a-subscription")
def a_renewal_whose_period_is_gone(lived: Lived) -> int:
    (renewal,) = lived.club.renewals(lived.member)
    lived.force(f"DELETE FROM subscription_periods WHERE payment_id = {renewal.id}")
    return int(renewal.id)


@breaks("periods-are-paid")
def a_period_that_is_not_paid(lived: Lived) -> int:
    (renewal,) = lived.club.renewals(lived.member)
    lived.change(payments, renewal.id, status="cancelled")
    return last_period(lived)


@breaks("periods-are-paid")
def one_that_is_paid_by_anothers_payment(lived: Lived) -> int:
    (renewal,) = lived.club.renewals(lived.member)
    lived.change(payments, renewal.id, subscription_id=None)
    return last_period(lived)


@breaks("periods-are-paid-by-their-subscriber")
def a_payment_of_somebody_else(lived: Lived) -> int:
    lived.change(payments, lived.club.renewals(lived.member)[0].id, user_id=lived.club.buyer())
    return last_period(lived)


@breaks("payments-are-of-what-was-charged")
def a_payment_of_another_amount(lived: Lived) -> int:
    return lived.change(payments, lived.club.renewals(lived.member)[0].id, amount_minor=49_900)


@breaks("payments-are-of-what-was-charged")
def a_payment_of_another_currency(lived: Lived) -> int:
    return lived.change(payments, lived.club.renewals(lived.member)[0].id, currency="USD")


@breaks("recurring-subscriptions-say-when")
def one_that_nobody_will_ever_charge(lived: Lived) -> int:
    return lived.change(subscriptions, lived.member, next_charge_at=None)


@breaks("periods-follow-each-other")
def a_gap(lived: Lived) -> int:
    start = lived.world.one(subscription_periods, last_period(lived)).period_start
    return lived.change(
        subscription_periods, last_period(lived), period_start=start + timedelta(microseconds=1)
    )


@breaks("periods-follow-each-other")
def an_overlap(lived: Lived) -> int:
    start = lived.world.one(subscription_periods, last_period(lived)).period_start
    return lived.change(subscription_periods, last_period(lived), period_start=start - timedelta(days=1))


@breaks("subscriptions-end-with-their-last-period")
def an_end_that_nobody_paid_for(lived: Lived) -> int:
    ended_at = lived.club.of(lived.member).ended_at
    return lived.change(subscriptions, lived.member, ended_at=ended_at + timedelta(days=1))


# ── notifications ────────────────────────────────────────────────────────────────────────────────


@breaks("settled-messages-say-when")
def a_sent_message_that_says_no_time(lived: Lived) -> int:
    return lived.change(notifications, lived.message, settled_at=None)


@breaks("settled-messages-say-when")
def a_queued_message_that_was_settled(lived: Lived) -> int:
    return lived.world.message(settled_at=NOW)


@breaks("claimed-messages-are-queued")
def a_claim_on_what_is_sent(lived: Lived) -> int:
    return lived.change(notifications, lived.message, claimed_by=1)
