"""Paystack: payments into escrow are verified and listed, and given back where nobody waits for them.

Sources: Paystack's API reference (Authentication, Transactions, Refunds, Pagination), and its guides "Verify
Payments" and "Refunds". A payment is known by its reference, which is ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from jobctl.errors import Exit
from jobctl.job import Means, NotBegunError, ScopeDownError
from jobctl.money import Money
from jobctl.providers import amounts
from jobctl.providers.pages import EARLIER, Fields, Page, Torn, looked_for, pages, search, since_then
from jobctl.providers.paystack_answers import (
    DECIMALS,
    FAILURES,
    NAME,
    REVERSED,
    closes,
    comes_to_something,
    data_of,
    found,
    given_back,
    listed,
    of_refund,
    payment_of,
    refund_told,
    safe_again,
    said,
    torn,
    worth_repeating,
)
from jobctl.providers.protocol import (
    Answer,
    Found,
    Inquiry,
    Kind,
    Outcome,
    Paid,
    Refund,
    Rejected,
    Request,
    Stored,
    Unknown,
    Unreadable,
    UnrepresentableError,
)
from jobctl.providers.transport import Reply, Transport, mapping
from jobctl.providers.wire import instant, moment, moves_money, segment
from jobctl.settings import Settings

TRANSACTIONS, REFUNDS = "/transaction", "/refund"
KEY_LIVES = timedelta()  # there are no idempotency keys: a request is never sent twice, but looked for
REPEATS_500 = False  # for want of keys
# No provider says how long its lists may lack what was just done. Seconds are usual, minutes happen under
# load, and to wait costs nothing but time.
LISTED_AFTER = timedelta(minutes=5)
HORIZON = timedelta(days=1)  # as long as a key may live, for a request that was on its way
# Lists go by when a payment was begun; it may be completed as much later.
BEGUN_BEFORE = timedelta(days=7)
# The first is the name in Paystack's own description of its API, the other that of its documentation.
SIZE = [["per_page", "100"], ["perPage", "100"]]
FIRST = [["page", "1"]]


def named(settings: Settings) -> bool:
    return settings.paystack_secret_key is not None


def account(settings: Settings) -> str:
    """Name the account; raises ScopeDownError (exit 78) where there is no key."""
    key = settings.paystack_secret_key
    if not key:
        raise ScopeDownError(NAME, "PAYSTACK_SECRET_KEY is not set", Exit.MISCONFIGURED)
    return "live" if "_live_" in key else "test"


def compose(request: Request, key: str) -> Stored:
    """Write a request as it will be sent; raises UnrepresentableError for all but a refund."""
    if not isinstance(request, Refund):
        raise UnrepresentableError("Paystack is asked for refunds alone")
    asked = {
        "transaction": request.payment_id,
        "amount": amounts.theirs("Paystack", DECIMALS, request.amount),
        "currency": request.amount.currency,
    }
    return {"method": "POST", "path": REFUNDS, "document": {**asked, "merchant_note": key}}


def opened(settings: Settings, means: Means) -> "Paystack":
    return Paystack(settings, means)


class Paystack:
    """One account at Paystack."""

    def __init__(self, settings: Settings, means: Means) -> None:
        account(settings)
        self._transport = Transport(
            settings.paystack_url,
            {"Authorization": f"Bearer {settings.paystack_secret_key}"},
            means,
            settings.paystack_rate_limit,
            settings.paystack_timeout,
        )
        self.patience = self._transport.patience
        self.live = moves_money(settings.paystack_secret_key)

    def close(self) -> None:
        self._transport.close()

    def send(self, kind: Kind, request: Stored, key: str) -> Outcome:
        assert kind == "refund", "a request that cannot be composed"
        document = request["document"]
        reply = self._transport.ask(request["method"], request["path"], safe_again, document=document)
        outcome = refund_told(reply, document["transaction"])
        if isinstance(outcome, Rejected) and reply.status == HTTPStatus.BAD_REQUEST:
            return self._as_it_is(document, outcome)
        return outcome

    def look(self, inquiry: Inquiry) -> Answer:
        """Find a refund by our key in its note; only a complete list proves that there is none."""

        def since(earliest: datetime) -> Answer:
            return search(
                self._pages(REFUNDS, [["from", instant(earliest)]]),
                lambda each: each.get("merchant_note") == inquiry.key,
                lambda each: of_refund(each, inquiry.payment_id),
                torn,
            )

        return looked_for(since, inquiry.first_sent_at, lambda: self._transport.behind)

    def retrieve(self, payment_id: str) -> Found:
        try:
            reply = self._verified(payment_id)
        except UnrepresentableError as error:
            return Unknown("no_payment_id", str(error))
        refuse_down(reply)
        told = found(reply)
        # What is told of another payment, or of the other mode, is no success whatever was given back of it.
        ours = isinstance(told, Paid) and told.id == payment_id and told.live in (None, self.live)
        return self._still_whole(told, data_of(reply)) if isinstance(told, Paid) and ours else told

    def listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        return since_then(self._listed, (since, until), lambda: self._transport.behind)

    def _listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        window = [["from", instant(since - BEGUN_BEFORE)], ["to", instant(until)]]
        for page in self._pages(TRANSACTIONS, [["status", "success"], *window]):
            if isinstance(page, Torn):
                raise FAILURES.list_failed(NAME, page)
            try:
                paid = [listed(each) for each in page]
            except KeyError as error:
                raise ScopeDownError(NAME, "Paystack's list has a payment without a reference") from error
            yield [each for each in paid if isinstance(each, Unreadable) or since <= each.paid_at < until]

    def _as_it_is(self, asked: Mapping[str, Any], refused: Rejected) -> Outcome:
        """Look whether a refund was refused since too little is left to be given back."""
        wanted = Money(asked["amount"], asked["currency"])
        with suppress(NotBegunError, UnrepresentableError):  # what was refused stays that
            transaction = data_of(self._verified(asked["transaction"]))
            refunds = [] if transaction.get("status") == REVERSED else self._refunds(transaction)
            if isinstance(refunds, list):
                return given_back(wanted, transaction, refunds) or refused
        return refused

    def _still_whole(self, paid: Paid, transaction: Mapping[str, Any]) -> Paid | Unknown:
        """Note whether some of it was given back, which the transaction itself tells only once all of it was.

        Raises ScopeDownError as `retrieve` does.
        """
        refunds = self._refunds(transaction)
        if isinstance(refunds, list):
            return replace(paid, refunded=any(map(comes_to_something, refunds)))
        if refunds is None:
            return Unknown("unexpected_answer", "Paystack tells no time, or no reference, of what was paid")
        refuse_down(refunds.reply)
        return torn(refunds)

    def _refunds(self, transaction: Mapping[str, Any]) -> list[Mapping[str, Any]] | Torn | None:
        """Return the refunds of a transaction, or what is told instead; None: they can't be asked for."""
        paid_at, reference = moment(transaction.get("paid_at")), transaction.get("reference")
        if paid_at is None or not reference:
            return None
        which = [["transaction", str(transaction.get("id"))], ["from", instant(paid_at - EARLIER)]]
        told: list[Mapping[str, Any]] = []
        for page in self._pages(REFUNDS, which):
            if isinstance(page, Torn):
                return page
            told += page
        number = transaction.get("id")
        return [each for each in told if payment_of(each) == reference or number_of(each) == number]

    def _pages(self, path: str, fields: Fields) -> Iterator[list[Mapping[str, Any]] | Torn]:
        return pages(lambda more: self._get(path, [*fields, *SIZE, *(more or FIRST)]), a_page)

    def _verified(self, reference: str) -> Reply:
        """Ask for a transaction by its reference; raises UnrepresentableError."""
        return self._get(f"{TRANSACTIONS}/verify/{segment(reference)}", [])

    def _get(self, path: str, fields: Fields) -> Reply:
        return self._transport.ask("GET", path, worth_repeating, fields=fields)


def refuse_down(reply: Reply) -> None:
    """Raise ScopeDownError where Paystack is of no use for the rest of the run."""
    if down := closes(reply) or reply.down:
        raise ScopeDownError(NAME, said(reply), down)


def number_of(refund: Mapping[str, Any]) -> object:
    told = refund.get("transaction")
    return mapping(told).get("id") if isinstance(told, dict) else told


def a_page(reply: Reply) -> Page | None:
    """Return a list's page; None where the answer is no such page, or doesn't tell how many there are."""
    body = reply.body if reply.status == HTTPStatus.OK and reply.body else {}
    things, meta = body.get("data"), mapping(body.get("meta"))
    if body.get("status") is not True or not isinstance(things, list):
        return None
    number, count, total = (meta.get(name) for name in ("page", "pageCount", "total"))
    if not all(isinstance(each, dict) for each in things):
        return None
    if not (isinstance(number, int) and isinstance(count, int) and isinstance(total, int)):
        return None
    return Page(things, [["page", str(number + 1)]] if number < count else None, total)
