"""Paystack: payments into escrow are verified and listed, and given back where nobody waits for them.

Sources: Paystack's API reference (Authentication, Transactions, Refunds, Pagination), and its guides "Verify
Payments" and "Refunds". A payment is known by its reference, which is ours.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from jobctl.errors import Exit
from jobctl.job import Means, ScopeDownError
from jobctl.providers.paystack_answers import (
    NAME,
    REVERSED,
    data_of,
    found,
    listed,
    no_answer,
    of_refund,
    refund_told,
    safe_again,
    said,
    worth_repeating,
)
from jobctl.providers.protocol import (
    Answer,
    Found,
    Inquiry,
    Kind,
    NotListed,
    Outcome,
    Paid,
    Refund,
    Rejected,
    Request,
    Stored,
    Succeeded,
    Unreadable,
    UnrepresentableError,
    moves_money,
)
from jobctl.providers.transport import Reply, Transport
from jobctl.settings import Settings

TRANSACTIONS, REFUNDS = "/transaction", "/refund"
KEY_LIVES = timedelta()  # there are no idempotency keys: a request is never sent twice, but looked for
REPEATS_500 = False  # for want of keys
# No provider says how long its lists may lack what was just done. Seconds are usual, minutes happen under
# load, and to wait costs nothing but time.
LISTED_AFTER = timedelta(minutes=5)
HORIZON = timedelta(days=1)  # as long as a key may live, for a request that was on its way
EARLIER = timedelta(minutes=10)  # their clock may be behind ours by that much
# Lists go by when a payment was begun; it may be completed as much later.
BEGUN_BEFORE = timedelta(days=7)
PAGE = 100


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
    amount = request.amount
    asked = {"transaction": request.payment_id, "amount": amount.minor, "currency": amount.currency}
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
        reply = self._transport.ask("POST", request["path"], safe_again, document=document)
        outcome = refund_told(reply, document["transaction"])
        if isinstance(outcome, Rejected) and reply.status == HTTPStatus.BAD_REQUEST:
            return self._as_it_is(document["transaction"], outcome)
        return outcome

    def look(self, inquiry: Inquiry) -> Answer:
        """Find a refund by our key in its note; only a complete list proves that there is none."""
        since = instant(inquiry.first_sent_at - EARLIER)
        for page in self._pages(REFUNDS, [["from", since]]):
            if isinstance(page, Reply):
                return no_answer(page)
            for each in page:
                if each.get("merchant_note") == inquiry.key:
                    return of_refund(each, inquiry.payment_id or "")
        return NotListed()

    def retrieve(self, payment_id: str) -> Found:
        reply = self._get(f"{TRANSACTIONS}/verify/{quote(payment_id, safe='')}", [])
        if reply.down:
            raise ScopeDownError(NAME, said(reply), reply.down)
        return found(reply)

    def listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        window = [["from", instant(since - BEGUN_BEFORE)], ["to", instant(until)]]
        for page in self._pages(TRANSACTIONS, [["status", "success"], *window]):
            if isinstance(page, Reply):
                down = page.closes or Exit.UNREACHABLE
                raise ScopeDownError(NAME, f"Paystack's list failed: {said(page)}", down)
            try:
                paid = [listed(each) for each in page]
            except KeyError as error:
                raise ScopeDownError(NAME, "Paystack's list has a payment without a reference") from error
            yield [each for each in paid if isinstance(each, Unreadable) or since <= each.paid_at < until]

    def _as_it_is(self, reference: str, refused: Rejected) -> Outcome:
        """Look whether a refund was refused since all of it has been given back already."""
        transaction = data_of(self._get(f"{TRANSACTIONS}/verify/{quote(reference, safe='')}", []))
        return Succeeded(reference) if transaction.get("status") == REVERSED else refused

    def _pages(
        self, path: str, fields: Sequence[Sequence[str]]
    ) -> Iterator[Sequence[Mapping[str, Any]] | Reply]:
        """Yield the pages of a list; the reply itself where it is none, as the last."""
        number = 1
        while True:
            reply = self._get(path, [*fields, ["perPage", str(PAGE)], ["page", str(number)]])
            body = reply.body if reply.status == HTTPStatus.OK and reply.body else {}
            page = body.get("data")
            if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
                yield reply
                return
            yield page
            if len(page) < PAGE:
                return
            number += 1

    def _get(self, path: str, fields: Sequence[Sequence[str]]) -> Reply:
        return self._transport.ask("GET", path, worth_repeating, fields=fields)


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
