"""YooKassa: charges of saved methods, holds and captures by its API v3.

Sources: YooKassa's API reference (Payments, Refunds, Lists, Idempotence, Errors), and its guides
"Autopayments" and "Two-stage payments".
"""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from jobctl.errors import Exit
from jobctl.job import Means, NotBegunError, ScopeDownError
from jobctl.providers.pages import Fields, Page, Torn, looked_for, pages, search, since_then
from jobctl.providers.protocol import (
    Answer,
    Declined,
    Found,
    Inquiry,
    Kind,
    Mismatched,
    NoEffect,
    NotFound,
    Outcome,
    Paid,
    Rejected,
    Request,
    Stored,
    Succeeded,
    Unknown,
    Unreadable,
    UnrepresentableError,
)
from jobctl.providers.transport import Reply, Transport
from jobctl.providers.wire import instant, moves_money, segment
from jobctl.providers.yookassa_answers import (
    IDEMPOTENCY,
    found,
    given_back,
    listed,
    of_payment,
    of_refund,
    pause_asked,
    told,
    worth_repeating,
)
from jobctl.providers.yookassa_reading import (
    FAILURES,
    NAME,
    closes,
    code_of,
    missing,
    reference_of,
    said,
    torn,
)
from jobctl.providers.yookassa_requests import PAYMENTS, REFUNDS, composed
from jobctl.settings import Settings

# Keys are forgotten after 24 hours, and then charge anew ("Idempotence").
KEY_LIVES = timedelta(hours=23)
# "Repeat the request with the same data and key", about once a minute, until it is no 500 ("HTTP codes").
REPEATS_500 = True
# No provider says how long its lists may lack what was just done. Seconds are usual, minutes happen under
# load, and to wait costs nothing but time.
LISTED_AFTER = timedelta(minutes=5)
HORIZON = timedelta(days=1)  # as long as a key may live, for a request that was on its way


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
    return composed(request, key)


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
            secret=str(settings.yookassa_secret_key),
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
        if isinstance(outcome, NoEffect):
            return Unknown("unexpected_answer", f"YooKassa answered a {kind} as if it had not been asked")
        if isinstance(outcome, Rejected | Unknown) and reply.status == HTTPStatus.BAD_REQUEST and reply.body:
            return self._as_it_is(kind, request, outcome)
        return outcome

    def look(self, inquiry: Inquiry) -> Answer:
        if inquiry.kind == "refund":
            return self._search(REFUNDS, inquiry, of_refund)
        if inquiry.payment_id:
            return self._retrieved(inquiry.kind, inquiry.payment_id)
        if inquiry.kind in ("capture", "release"):  # they carry no reference of their own
            return Unknown("no_payment_id", f"a {inquiry.kind} can be found by its payment's id only")
        return self._search(PAYMENTS, inquiry, partial(of_payment, inquiry.kind))

    def retrieve(self, payment_id: str) -> Found:
        try:
            reply = self._payment(payment_id)
        except UnrepresentableError as error:
            return Unknown("no_payment_id", str(error))
        down = closes(reply) or reply.down
        if down:
            raise ScopeDownError(NAME, said(reply), down)
        return found(reply)

    def listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        return since_then(self._listed, (since, until), lambda: self._transport.behind)

    def _listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        window = [["captured_at.gte", instant(since)], ["captured_at.lt", instant(until)]]
        for page in self._pages(PAYMENTS, [["status", "succeeded"], *window]):
            if isinstance(page, Torn):
                raise FAILURES.list_failed(NAME, page)
            try:
                yield [listed(each) for each in page]
            except KeyError as error:
                raise ScopeDownError(NAME, "YooKassa's list has a payment without a number") from error

    def _as_it_is(self, kind: Kind, request: Stored, refused: Rejected | Unknown) -> Outcome:
        """Look in what state of the payment something was refused."""
        if kind not in ("capture", "release", "refund") or refused.code == IDEMPOTENCY:
            return refused
        with suppress(NotBegunError):  # what was refused stays that
            if kind == "refund":
                return self._given_back(request["document"]) or refused
            state = self._retrieved(kind, unquote(request["path"].split("/")[-2]))
            return state if isinstance(state, Succeeded | Declined | Mismatched) else refused
        return refused

    def _given_back(self, asked: Mapping[str, Any]) -> Succeeded | Mismatched | None:
        reply = self._payment(asked["payment_id"])
        return given_back(asked, reply.body) if reply.status == HTTPStatus.OK and reply.body else None

    def _retrieved(self, kind: Kind, payment_id: str) -> Answer:
        try:
            reply = self._payment(payment_id)
        except UnrepresentableError as error:
            return Unknown("no_payment_id", str(error))
        if missing(reply):
            return NotFound(said(reply))
        if reply.status != HTTPStatus.OK:
            return Unknown(code_of(reply), said(reply), closes(reply))
        return told(kind, reply)

    def _search(self, path: str, inquiry: Inquiry, read: Callable[[Mapping[str, Any]], Answer]) -> Answer:
        """Find what bears our reference."""

        def among(fields: Fields, failed: Callable[[Torn], Answer] = torn) -> Answer:
            return search(
                self._pages(path, fields), lambda each: reference_of(each) == inquiry.key, read, failed
            )

        if path == REFUNDS and inquiry.payment_id:  # all that there are of it, whenever they were made
            return among([["payment_id", inquiry.payment_id]], FAILURES.of_one_torn)
        return looked_for(
            lambda earliest: among([["created_at.gte", instant(earliest)]]),
            inquiry.first_sent_at,
            lambda: self._transport.behind,
        )

    def _pages(self, path: str, fields: Fields) -> Iterator[list[Mapping[str, Any]] | Torn]:
        return pages(lambda more: self._get(path, [*fields, ["limit", "100"], *more]), a_page)

    def _payment(self, payment_id: str) -> Reply:
        """Ask for a payment by its number; raises UnrepresentableError."""
        return self._get(f"{PAYMENTS}/{segment(payment_id)}", [])

    def _get(self, path: str, fields: Fields) -> Reply:
        return self._transport.ask("GET", path, worth_repeating, fields=fields)


def a_page(reply: Reply) -> Page | None:
    """Return a list's page; None where the answer is no such page. Without a cursor it is the last."""
    body = reply.body if reply.status == HTTPStatus.OK and reply.body else {}
    things, cursor = body.get("items"), body.get("next_cursor")
    if (
        body.get("type") != "list"
        or not isinstance(things, list)
        or not all(isinstance(each, dict) for each in things)
    ):
        return None
    if cursor is not None and (not isinstance(cursor, str) or not cursor):
        return None
    return Page(things, [["cursor", cursor]] if cursor else None)
