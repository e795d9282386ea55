"""YooKassa: charges of saved methods, holds and captures by its API v3.

Sources: YooKassa's API reference (Payments, Refunds, Lists, Idempotence, Errors), and its guides
"Autopayments" and "Two-stage payments".
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from jobctl.errors import Exit
from jobctl.job import Means, ScopeDownError
from jobctl.money import Money, major
from jobctl.providers.protocol import (
    REFERENCE,
    Answer,
    Authorize,
    Capture,
    Charge,
    Declined,
    Found,
    Inquiry,
    Kind,
    NoEffect,
    NotListed,
    Outcome,
    Paid,
    Refund,
    Rejected,
    Release,
    Request,
    Stored,
    Succeeded,
    Unknown,
    Unreadable,
    UnrepresentableError,
    moves_money,
)
from jobctl.providers.transport import Reply, Transport
from jobctl.providers.yookassa_answers import (
    NAME,
    code_of,
    found,
    listed,
    no_answer,
    of_payment,
    of_refund,
    pause_asked,
    reference_of,
    said,
    told,
    worth_repeating,
)
from jobctl.settings import Settings

PAYMENTS, REFUNDS = "/v3/payments", "/v3/refunds"
# Keys are forgotten after 24 hours, and then charge anew ("Idempotence").
KEY_LIVES = timedelta(hours=23)
# "Repeat the request with the same data and key", about once a minute, until it is no 500 ("HTTP codes").
REPEATS_500 = True
# No provider says how long its lists may lack what was just done. Seconds are usual, minutes happen under
# load, and to wait costs nothing but time.
LISTED_AFTER = timedelta(minutes=5)
HORIZON = timedelta(days=1)  # as long as a key may live, for a request that was on its way
EARLIER = timedelta(minutes=10)  # their clock may be behind ours by that much
MOST_METADATA, LONGEST_NAME, LONGEST_VALUE = 16, 32, 512


def named(settings: Settings) -> bool:
    """Tell whether the settings name a shop here, if only in part."""
    return (settings.yookassa_shop_id or settings.yookassa_secret_key) is not None


def account(settings: Settings) -> str:
    """Name the account, which is the shop; raises ScopeDownError (exit 78) where there is none, or no key."""
    for name in ("yookassa_shop_id", "yookassa_secret_key"):
        if not getattr(settings, name):
            raise ScopeDownError(NAME, f"{name.upper()} is not set", Exit.MISCONFIGURED)
    return f"shop-{settings.yookassa_shop_id}"


def compose(request: Request, key: str) -> Stored:
    """Write a request as it will be sent, on every attempt; raises UnrepresentableError."""
    match request:
        case Authorize():
            return post(PAYMENTS, payment(request, key, capture=False))
        case Charge():
            return post(PAYMENTS, payment(request, key, capture=True))
        case Capture():
            return post(f"{PAYMENTS}/{request.payment_id}/capture", {"amount": written(request.amount)})
        case Release():
            return post(f"{PAYMENTS}/{request.payment_id}/cancel", {})
        case Refund():
            asked = {"payment_id": request.payment_id, "amount": written(request.amount)}
            return post(REFUNDS, {**asked, "metadata": {REFERENCE: key}})


def post(path: str, document: Mapping[str, Any]) -> Stored:
    return {"method": "POST", "path": path, "document": dict(document)}


def payment(request: Authorize | Charge, key: str, *, capture: bool) -> dict[str, Any]:
    metadata = {**request.metadata, REFERENCE: key}
    long = [
        each for each, value in metadata.items() if len(each) > LONGEST_NAME or len(value) > LONGEST_VALUE
    ]
    if long or len(metadata) > MOST_METADATA:
        raise UnrepresentableError("YooKassa takes 16 names of metadata, of 32 characters, and values of 512")
    return {
        "amount": written(request.amount),
        "capture": capture,  # without it YooKassa only holds
        "payment_method_id": request.method,
        "metadata": metadata,
    }


def written(amount: Money) -> dict[str, str]:
    return {"value": f"{major(amount):f}", "currency": amount.currency}


def opened(settings: Settings, means: Means) -> "YooKassa":
    return YooKassa(settings, means)


class YooKassa:
    """One shop at YooKassa."""

    def __init__(self, settings: Settings, means: Means) -> None:
        account(settings)
        login = f"{settings.yookassa_shop_id}:{settings.yookassa_secret_key}"
        self._transport = Transport(
            settings.yookassa_api_base,
            {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"},
            means,
            settings.yookassa_rate_limit,
            settings.yookassa_timeout,
            asked_pause=pause_asked,
        )
        self.patience = self._transport.patience
        self.live = moves_money(settings.yookassa_secret_key)

    def close(self) -> None:
        self._transport.close()

    def send(self, kind: Kind, request: Stored, key: str) -> Outcome:
        reply = self._transport.ask(
            request["method"],
            request["path"],
            worth_repeating,
            document=request["document"],
            headers={"Idempotence-Key": key},
        )
        outcome = told(kind, reply)
        if isinstance(outcome, Rejected) and kind in ("capture", "release") and reply.begun:
            return self._as_it_is(kind, request["path"].split("/")[-2], outcome)
        if isinstance(outcome, NoEffect):
            return Unknown("unexpected_answer", f"YooKassa answered a {kind} as if it had not been asked")
        return outcome

    def look(self, inquiry: Inquiry) -> Answer:
        if inquiry.kind == "refund":
            which = [["payment_id", inquiry.payment_id]] if inquiry.payment_id else created(inquiry)
            return self._search(REFUNDS, which, inquiry.key, of_refund)
        if inquiry.payment_id:
            reply = self._get(f"{PAYMENTS}/{inquiry.payment_id}", [])
            if reply.status != HTTPStatus.OK:
                return Unknown(code_of(reply), said(reply), reply.closes)
            return told(inquiry.kind, reply)
        if inquiry.kind in ("capture", "release"):  # they carry no reference of their own
            return Unknown("no_payment_id", f"a {inquiry.kind} can be found by its payment's id only")
        return self._search(PAYMENTS, created(inquiry), inquiry.key, partial(of_payment, inquiry.kind))

    def retrieve(self, payment_id: str) -> Found:
        reply = self._get(f"{PAYMENTS}/{quote(payment_id, safe='')}", [])
        if reply.down:
            raise ScopeDownError(NAME, said(reply), reply.down)
        return found(reply)

    def listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        window = [["captured_at.gte", instant(since)], ["captured_at.lt", instant(until)]]
        for page in self._pages(PAYMENTS, [["status", "succeeded"], *window]):
            if isinstance(page, Reply):
                down = page.closes or Exit.UNREACHABLE
                raise ScopeDownError(NAME, f"YooKassa's list failed: {said(page)}", down)
            try:
                yield [listed(each) for each in page]
            except KeyError as error:
                raise ScopeDownError(NAME, "YooKassa's list has a payment without a number") from error

    def _as_it_is(self, kind: Kind, payment_id: str, refused: Rejected) -> Outcome:
        """Look what state of the payment a capture or release was refused in."""
        state = self.look(Inquiry(kind, "", payment_id, datetime.now(UTC)))
        return state if isinstance(state, Succeeded | Declined) else refused

    def _search(self, path: str, which: Sequence[Sequence[str]], key: str, read: Any) -> Answer:
        """Find an object by our reference; only a complete listing proves that there is none."""
        for page in self._pages(path, which):
            if isinstance(page, Reply):
                return no_answer(page)
            for each in page:
                if reference_of(each) == key:
                    outcome: Answer = read(each)
                    return outcome
        return NotListed()

    def _pages(
        self, path: str, fields: Sequence[Sequence[str]]
    ) -> Iterator[Sequence[Mapping[str, Any]] | Reply]:
        """Yield the pages of a list, newest first; the reply itself where it is none, as the last."""
        more: list[list[str]] = []
        while True:
            reply = self._get(path, [*fields, ["limit", "100"], *more])
            body = reply.body if reply.status == HTTPStatus.OK and reply.body else {}
            page, cursor = body.get("items"), body.get("next_cursor")
            if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
                yield reply
                return
            yield page
            if not isinstance(cursor, str) or not cursor:
                return
            more = [["cursor", cursor]]

    def _get(self, path: str, fields: Sequence[Sequence[str]]) -> Reply:
        return self._transport.ask("GET", path, worth_repeating, fields=fields)


def created(inquiry: Inquiry) -> list[list[str]]:
    return [["created_at.gte", instant(inquiry.first_sent_at - EARLIER)]]


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
