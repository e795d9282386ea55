"""Stripe: holds and captures by PaymentIntents.

Sources: Stripe's API reference (PaymentIntents, Refunds, Errors, Idempotent requests, Pagination), and its
guides "Place a hold on a payment method", "Declines", "Supported currencies".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from jobctl.errors import Exit
from jobctl.job import Means, NotBegunError, ScopeDownError
from jobctl.outside_text import is_id
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
from jobctl.providers.stripe_answers import (
    IDEMPOTENCY,
    given_back,
    of_intent,
    of_refund,
    told,
    worth_repeating,
)
from jobctl.providers.stripe_paid import PAID, REFUNDED, found, of_events, of_intents
from jobctl.providers.stripe_reading import (
    FAILURES,
    NAME,
    closes,
    code_of,
    error_of,
    missing,
    reference_of,
    said,
    torn,
)
from jobctl.providers.stripe_requests import INTENTS, REFUNDS, composed, expanded, intent
from jobctl.providers.transport import Reply, Transport
from jobctl.providers.wire import moves_money
from jobctl.settings import Settings

VERSION = "2024-06-20"  # what the shapes below were written for
EVENTS = "/v1/events"
# Keys are forgotten after 24 hours at the earliest ("Idempotent requests").
KEY_LIVES = timedelta(hours=23)
# The stored answer is repeated to its key, a 500 too ("Idempotent requests").
REPEATS_500 = False
# No provider says how long its lists may lack what was just done. Seconds are usual, minutes happen under
# load, and to wait costs nothing but time.
LISTED_AFTER = timedelta(minutes=5)
HORIZON = timedelta(days=1)  # as long as a key may live, for a request that was on its way
EVENTS_KEPT = timedelta(days=30)
WHOLE = [["expand[0]", "data.latest_charge"]]  # intents with their charges in them


def named(settings: Settings) -> bool:
    """Tell whether the settings name an account here, if only in part."""
    return settings.stripe_secret_key is not None


def account(settings: Settings) -> str:
    """Name the account; raises ScopeDownError (exit 78) where there is no key."""
    key = settings.stripe_secret_key
    if not key:
        raise ScopeDownError(NAME, "STRIPE_SECRET_KEY is not set", Exit.MISCONFIGURED)
    return settings.stripe_account or ("live" if "_live_" in key else "test")


def compose(request: Request, key: str) -> Stored:
    """Write a request as it will be sent, on every attempt; raises UnrepresentableError."""
    return composed(request, key)


def opened(settings: Settings, means: Means) -> "Stripe":
    return Stripe(settings, means)


class Stripe:
    """One account at Stripe."""

    def __init__(self, settings: Settings, means: Means) -> None:
        account(settings)
        headers = {"Authorization": f"Bearer {settings.stripe_secret_key}", "Stripe-Version": VERSION}
        self._transport = Transport(
            settings.stripe_api_base, headers, means, settings.stripe_rate_limit, settings.stripe_timeout
        )
        self.patience = self._transport.patience
        self.live = moves_money(settings.stripe_secret_key)

    def close(self) -> None:
        self._transport.close()

    def send(self, kind: Kind, request: Stored, key: str) -> Outcome:
        headers = {"Idempotency-Key": key}
        reply = self._transport.ask(
            request["method"], request["path"], worth_repeating, fields=request["fields"], headers=headers
        )
        outcome = told(kind, reply)
        if isinstance(outcome, NoEffect):
            return Unknown("unexpected_answer", f"Stripe answered a {kind} as if it had not been asked")
        refused = reply.status == HTTPStatus.BAD_REQUEST and bool(error_of(reply))
        if refused and isinstance(outcome, Rejected | Unknown | Succeeded):
            return self._as_it_is(kind, request, outcome)
        return outcome

    def look(self, inquiry: Inquiry) -> Answer:
        if inquiry.kind == "refund":
            return self._search(REFUNDS, inquiry, of_refund)
        if inquiry.payment_id:
            return self._retrieved(inquiry.kind, inquiry.payment_id)
        if inquiry.kind in ("capture", "release"):  # they carry no reference of their own
            return Unknown("no_payment_id", f"a {inquiry.kind} can be found by its payment's id only")
        return self._search(INTENTS, inquiry, partial(of_intent, inquiry.kind))

    def retrieve(self, payment_id: str) -> Found:
        try:
            reply = self._intent(payment_id)
        except UnrepresentableError as error:
            return Unknown("no_payment_id", str(error))
        down = closes(reply) or reply.down
        if down:
            raise ScopeDownError(NAME, said(reply), down)
        return found(reply)

    def listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        """List by the events of success, since intents can be listed by their creation alone.

        Events are kept for 30 days ("List all events"); for what is older intents are listed nevertheless.
        """
        return since_then(self._listed, (since, until), lambda: self._transport.behind)

    def _listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        kept = max(since, until - EVENTS_KEPT)
        refunded: set[str] = set()
        for _ in self._read(
            EVENTS, [["types[]", REFUNDED], *created(kept, None)], lambda page: of_events(page, refunded)
        ):
            pass
        paid = [["types[]", PAID], *created(kept, until)]
        yield from self._read(EVENTS, paid, lambda page: of_events(page, refunded))
        if since < kept:
            yield from self._read(INTENTS, [*created(since, kept), *WHOLE], of_intents)

    def _read(
        self, path: str, fields: Fields, read: Callable[[Any], list[Paid | Unreadable]]
    ) -> Iterator[Sequence[Paid | Unreadable]]:
        for page in self._pages(path, fields):
            if isinstance(page, Torn):
                raise FAILURES.list_failed(NAME, page)
            try:
                yield read(page)
            except (KeyError, TypeError) as error:
                raise ScopeDownError(NAME, "Stripe's list has something that cannot be read") from error

    def _as_it_is(self, kind: Kind, request: Stored, refused: Rejected | Unknown | Succeeded) -> Outcome:
        """Look in what state of the payment something was refused."""
        if isinstance(refused, Succeeded):  # so the payment in the error says, which has no charge in it
            if kind != "capture":
                return refused
            refused = Unknown("unproved", "the payment was captured, and it is not known what was given back")
        if kind not in ("capture", "release", "refund") or refused.code == IDEMPOTENCY:
            return refused
        with suppress(NotBegunError):  # what was refused stays that
            if kind == "refund":
                return self._given_back(dict(request["fields"])) or refused
            state = self._retrieved(kind, unquote(request["path"].split("/")[-2]))
            return state if isinstance(state, Succeeded | Declined | Mismatched) else refused
        return refused

    def _given_back(self, asked: Mapping[str, str]) -> Succeeded | Mismatched | None:
        reply = self._intent(asked["payment_intent"])
        whole = reply.body if reply.status == HTTPStatus.OK and reply.body else {}
        return given_back(asked["payment_intent"], int(asked["amount"]), whole)

    def _retrieved(self, kind: Kind, payment_id: str) -> Answer:
        try:
            reply = self._intent(payment_id)
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
            return among([["payment_intent", inquiry.payment_id]], FAILURES.of_one_torn)
        whole = WHOLE if path == INTENTS else []
        return looked_for(
            lambda earliest: among([*created(earliest, None), *whole]),
            inquiry.first_sent_at,
            lambda: self._transport.behind,
        )

    def _pages(self, path: str, fields: Fields) -> Iterator[list[Mapping[str, Any]] | Torn]:
        return pages(lambda more: self._get(path, [*fields, ["limit", "100"], *more]), a_page)

    def _intent(self, payment_id: str) -> Reply:
        """Ask for an intent by its number; raises UnrepresentableError."""
        return self._get(intent(payment_id), [expanded()])

    def _get(self, path: str, fields: Fields) -> Reply:
        return self._transport.ask("GET", path, worth_repeating, fields=fields)


def a_page(reply: Reply) -> Page | None:
    """Return a list's page; None where the answer is no such page."""
    body = reply.body if reply.status == HTTPStatus.OK and reply.body else {}
    things, follows = body.get("data"), body.get("has_more")
    if not isinstance(things, list) or not isinstance(follows, bool):
        return None
    if not all(isinstance(each, dict) for each in things):
        return None
    if not follows:
        return Page(things, None)
    last = things[-1].get("id") if things else None
    return Page(things, [["starting_after", last]]) if is_id(last) else None


def created(since: datetime, until: datetime | None) -> list[list[str]]:
    end = [["created[lt]", str(int(until.timestamp()))]] if until else []
    return [["created[gte]", str(int(since.timestamp()))], *end]
