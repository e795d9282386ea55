"""What everybody should have had in the end, from the providers' ledger and the rows alone."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobctl.sandbox.ledger import Effect


@dataclass
class Account:
    """What became of one payment at its provider, in the smallest unit."""

    provider: str
    intent: str
    subject: str | None = None  # of ours, as its reference tells: "order-7"
    currency: str = ""
    marked: bool = False  # as ours, or somebody's like us
    held: int = 0
    taken: int = 0
    returned: int = 0  # by us
    by_hand: int = 0  # given back by a person
    times: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """What we have of it, as far as it was ours to give back."""
        return self.taken - self.returned

    def add(self, effect: Effect) -> None:
        self.times[effect.kind] += 1
        match effect.kind:
            case "hold":
                self.held = effect.amount
            case "capture" | "charge":
                self.held, self.taken = 0, self.taken + effect.amount
            case "release" | "expiry":
                self.held = 0
            case "refund" if is_ours(effect):
                self.returned += effect.amount
            case "refund":
                self.by_hand += effect.amount


def is_ours(refund: Effect) -> bool:
    """Tell whether jobctl asked for a refund; Paystack has no keys, and a note of ours."""
    return refund.key is not None or ".refund." in refund.metadata.get("merchant_note", "")


def accounts(effects: Sequence[Effect]) -> Mapping[str, Account]:
    made: dict[str, Account] = {}
    for each in effects:
        account = made.setdefault(
            each.intent, Account(each.provider, each.intent, currency=each.currency.upper())
        )
        if each.kind != "refund":
            account.subject = account.subject or subject_of(each.metadata)
            account.marked = bool(each.metadata)
        account.add(each)
    return made


def subject_of(metadata: Mapping[str, str]) -> str | None:
    """Return what a reference of ours is for: `installation.kind.order-7.hold-1.1`."""
    parts = metadata.get("jobctl_key", "").split(".")
    return parts[2] if len(parts) > 3 else None


@dataclass(frozen=True)
class Excuses:
    """What people have been told, and have not decided about."""

    subjects: set[str]
    payments: Collection[str]
    reversed: Collection[str]  # by a bank, of which nobody is told

    def cover(self, subject: str | None, *payments: str | None) -> bool:
        return subject in self.subjects or any(each in self.payments for each in payments if each)


def excuses(
    open_findings: Sequence[Any],
    operations: Sequence[Any],
    reversed_there: Collection[str],
) -> Excuses:
    by_id = {each.id: each for each in operations}
    subjects, payments = set(), set()
    for each in open_findings:
        if each.subject:
            subjects.add(f"{each.subject}-{each.subject_id}")
        facts = each.facts or {}
        last = each.once_key.rpartition(".")[2]
        payments |= {str(facts.get("payment")), last}
        number = facts.get("operation") or (last if each.kind.endswith((" refused", " not begun")) else None)
        operation = by_id.get(int(str(number))) if str(number).isdecimal() else None
        if operation is not None:
            subjects.add(f"{operation.subject}-{operation.subject_id}")
    return Excuses(subjects, payments, reversed_there)


# ── orders ───────────────────────────────────────────────────────────────────────────────────────


def wrong_orders(
    orders: Sequence[Any], sessions: Mapping[int, Any], there: Mapping[str, Account], excused: Excuses
) -> Iterator[str]:
    of_orders = defaultdict(list)
    for each in there.values():
        if each.subject and each.subject.startswith("order-"):
            of_orders[each.subject].append(each)
    for order in orders:
        name = f"order-{order.id}"
        if excused.cover(name, *(each.intent for each in of_orders[name]), order.payment_id):
            continue
        for wrong in wrong_order(order, sessions[order.session_id], of_orders[name]):
            yield f"{name} ({order.payment_status}, {order.status}): {wrong}; {of_orders[name]}"


def wrong_order(order: Any, session: Any, theirs: Sequence[Account]) -> Iterator[str]:
    held = {each.intent: each.held for each in theirs if each.held}
    kept = {each.intent: (each.kept, each.currency) for each in theirs if each.kept}
    stands = order.status == "complete" and session.status != "cancelled"
    owes = stands and session.attendance == "all_present"
    captured = order.payment_status == "captured" and order.refunded_at is None
    if held:
        yield f"{held} is held of a session that is over"
    if order.payment_status == "authorized":
        yield "it is authorized, and its session is over"
    expected = {order.payment_id: (order.amount_minor, order.currency)} if captured else {}
    if kept != expected:
        yield f"{kept} is kept, and should be {expected}"
    if captured and not owes:
        yield f"it is paid for nothing: {session}"
    if owes and order.payment_status not in ("captured", "capture_failed"):
        yield "its session took place, and nobody asks for it"
    yield from twice(theirs)


def twice(theirs: Sequence[Account]) -> Iterator[str]:
    for each in theirs:
        if any(n > 1 for kind, n in each.times.items() if kind != "refund"):
            yield f"{each.intent} had {dict(each.times)}"


# ── subscriptions ────────────────────────────────────────────────────────────────────────────────


def wrong_payments(
    payments: Sequence[Any],
    periods: Sequence[Any],
    there: Mapping[str, Account],
    excused: Excuses,
) -> Iterator[str]:
    known = {each.provider_payment_id: each for each in payments if each.provider_payment_id}
    paid_for = {each.payment_id for each in periods}
    charged = {
        each.intent: each
        for each in there.values()
        if each.provider != "paystack" and each.marked and not (each.subject or "").startswith("order-")
    }
    for intent, account in charged.items():
        row = known.get(intent)
        subject = row and row.subscription_id and f"subscription-{row.subscription_id}"
        if excused.cover(account.subject, intent) or excused.cover(subject or None):
            continue
        for each in wrong_payment(row, paid_for, account):
            yield f"payment {intent}: {each}; {account}; {row}"
    for intent, row in known.items():
        here = row.status == "succeeded" and not intent.startswith("first-")
        if here and intent not in charged and not excused.cover(None, intent):
            yield f"payment {row.id} succeeded here, and not at its provider"


def wrong_payment(row: Any, paid_for: Collection[int], account: Account) -> Iterator[str]:
    yield from twice([account])
    if not account.taken:
        return
    if row is None:
        yield "nobody here knows of it"
        return
    if (row.amount_minor, row.currency) != (account.taken, account.currency):
        yield "it is of another amount here"
    given_back = account.kept == 0
    if given_back != (row.refunded_at is not None) and not account.by_hand:
        yield "it was given back here or there alone"
    if row.status != "succeeded":
        yield f"it is {row.status} here"
    if given_back == (row.id in paid_for) and not account.by_hand:
        yield "it is kept without a period, or has one and was given back"


# ── escrow ───────────────────────────────────────────────────────────────────────────────────────


def wrong_escrow(
    transactions: Sequence[Any],
    requests: Mapping[int, Any],
    postings: Sequence[Any],
    there: Mapping[str, Account],
    excused: Excuses,
) -> Iterator[str]:
    released = {each.wallet_transaction_id for each in postings if each.kind == "release"}
    for row in transactions:
        name = f"transaction-{row.id}"
        odd = row.reference in excused.reversed or row.status == "unverified"
        # What came late is told as well as given back: that must not excuse that it is not.
        if odd or row.reference is None or excused.cover(name):
            continue
        account = there.get(row.reference, Account("paystack", row.reference))
        for each in wrong_transaction(row, requests[row.request_id], account, row.id in released):
            if not (excused.cover(None, row.reference) and account.taken != row.amount_minor):
                yield f"{name} ({row.status}, {row.escrow_status}): {each}; {account}"


def wrong_transaction(row: Any, request: Any, account: Account, released: bool) -> Iterator[str]:
    yield from twice([account])
    kept = account.kept
    if kept and kept != row.amount_minor and not account.by_hand:
        yield f"{kept} is kept of {row.amount_minor}"
    if (row.escrow_status == "released") != released:
        yield "it is released in one place alone"
    if released and request.status != "completed":
        yield f"it was released of a request that is {request.status}"
    if account.by_hand:
        return
    ours = row.status == "completed" and row.escrow_status in ("pending", "released")
    if ours != bool(kept):
        yield f"{kept} is kept"
    if row.escrow_status == "pending" and request.status == "completed" and request.dispute != "open":
        yield "it is earned, and not released"
