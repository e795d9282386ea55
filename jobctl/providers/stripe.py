"""Stripe: holds and captures by PaymentIntents.

Sources: Stripe's API reference (PaymentIntents, Refunds, Errors, Idempotent requests, Pagination), and its
guides "Place a hold on a payment method", "Declines", "Supported currencies".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from jobctl.errors import Exit
from jobctl.job import Means, ScopeDownError
from jobctl.money import Money
from jobctl.providers.protocol import (
    REFERENCE,
    Answer,
    Authorize,
    Capture,
    Charge,
    Found,
    Inquiry,
    Kind,
    NoEffect,
    NotListed,
    Outcome,
    Paid,
    Refund,
    Release,
    Request,
    Stored,
    Unknown,
    Unreadable,
    UnrepresentableError,
    moves_money,
)
from jobctl.providers.stripe_answers import (
    LARGER,
    NAME,
    PAID,
    REFUNDED,
    code_of,
    found,
    no_answer,
    of_events,
    of_intent,
    of_intents,
    of_refund,
    reference_of,
    said,
    told,
    worth_repeating,
)
from jobctl.providers.transport import Reply, Transport
from jobctl.settings import Settings

VERSION = "2024-06-20"  # what the shapes below were written for
INTENTS, EVENTS = "/v1/payment_intents", "/v1/events"
# Keys are forgotten after 24 hours at the earliest ("Idempotent requests").
KEY_LIVES = timedelta(hours=23)
# The stored answer is repeated to its key, a 500 too ("Idempotent requests").
REPEATS_500 = False
# No provider says how long its lists may lack what was just done. Seconds are usual, minutes happen under
# load, and to wait costs nothing but time.
LISTED_AFTER = timedelta(minutes=5)
HORIZON = timedelta(days=1)  # as long as a key may live, for a request that was on its way
EVENTS_KEPT = timedelta(days=30)
EARLIER = timedelta(minutes=10)  # their clock may be behind ours by that much

# "Supported currencies": what Stripe counts in other units than ISO 4217 has minor ones.
MULTIPLES = dict.fromkeys(["BHD", "JOD", "KWD", "OMR", "TND"], 10)


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
    reference = [f"metadata[{REFERENCE}]", key]
    match request:
        case Authorize():
            return post(INTENTS, payment(request, "manual"), *metadata(request), reference)
        case Charge():
            return post(INTENTS, payment(request, "automatic"), *metadata(request), reference)
        case Capture():
            amount = [["amount_to_capture", smallest(request.amount)]]
            return post(f"{INTENTS}/{request.payment_id}/capture", amount, expanded())
        case Release():
            reason = [["cancellation_reason", "abandoned"]]
            return post(f"{INTENTS}/{request.payment_id}/cancel", reason)
        case Refund():
            fields = [["payment_intent", request.payment_id], ["amount", smallest(request.amount)]]
            return post("/v1/refunds", fields, reference)


def post(path: str, fields: Sequence[Sequence[str]], *more: Sequence[str]) -> Stored:
    return {"method": "POST", "path": path, "fields": [list(each) for each in (*fields, *more)]}


def payment(request: Authorize | Charge, capture: str) -> list[list[str]]:
    return [
        ["amount", smallest(request.amount)],
        ["currency", request.amount.currency.lower()],
        ["customer", request.customer],
        ["payment_method", request.method],
        ["capture_method", capture],
        ["confirm", "true"],
        ["off_session", "true"],
        expanded(),
    ]


def metadata(request: Authorize | Charge) -> list[list[str]]:
    return [[f"metadata[{name}]", value] for name, value in request.metadata.items()]


def expanded() -> list[str]:
    """Ask for the charge within the intent: it has the end of the hold."""
    return ["expand[0]", "latest_charge"]


def smallest(amount: Money) -> str:
    """Return the amount in Stripe's smallest unit."""
    if amount.minor % MULTIPLES.get(amount.currency, 1):
        raise UnrepresentableError(f"Stripe takes {amount.currency} in multiples of 10 only, not {amount}")
    if amount.currency == "MGA":
        if amount.minor % 100:
            raise UnrepresentableError(f"Stripe takes MGA without decimals, not {amount}")
        return str(amount.minor // 100)
    return str(amount.minor * LARGER.get(amount.currency, 1))


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
        return outcome

    def look(self, inquiry: Inquiry) -> Answer:
        if inquiry.kind == "refund":
            return self._refund(inquiry)
        if inquiry.payment_id:
            reply = self._get(f"{INTENTS}/{inquiry.payment_id}", [expanded()])
            if reply.status != HTTPStatus.OK:
                return Unknown(code_of(reply), said(reply), reply.closes)
            return told(inquiry.kind, reply)
        if inquiry.kind in ("capture", "release"):  # they carry no reference of their own
            return Unknown("no_payment_id", f"a {inquiry.kind} can be found by its payment's id only")
        return self._search(inquiry)

    def retrieve(self, payment_id: str) -> Found:
        reply = self._get(f"{INTENTS}/{quote(payment_id, safe='')}", [expanded()])
        if reply.down:
            raise ScopeDownError(NAME, said(reply), reply.down)
        return found(reply)

    def listed(self, since: datetime, until: datetime) -> Iterator[Sequence[Paid | Unreadable]]:
        """List by the events of success, since intents can be listed by their creation alone.

        Events are kept for 30 days ("List all events"); for what is older intents are listed nevertheless.
        """
        kept = max(since, until - EVENTS_KEPT)
        refunded: set[str] = set()
        for _ in self._read(
            EVENTS, [["types[]", REFUNDED], *created(kept, None)], lambda page: of_events(page, refunded)
        ):
            pass
        paid = [["types[]", PAID], *created(kept, until)]
        yield from self._read(EVENTS, paid, lambda page: of_events(page, refunded))
        if since < kept:
            whole = [["expand[0]", "data.latest_charge"]]
            yield from self._read(INTENTS, [*created(since, kept), *whole], of_intents)

    def _read(
        self, path: str, fields: Sequence[Sequence[str]], read: Callable[[Any], list[Paid | Unreadable]]
    ) -> Iterator[Sequence[Paid | Unreadable]]:
        for page in self._pages(path, fields):
            if isinstance(page, Reply):
                down = page.closes or Exit.UNREACHABLE
                raise ScopeDownError(NAME, f"Stripe's list failed: {said(page)}", down)
            try:
                yield read(page)
            except (KeyError, TypeError) as error:
                raise ScopeDownError(NAME, "Stripe's list has something that cannot be read") from error

    def _search(self, inquiry: Inquiry) -> Answer:
        """Find an intent by our reference; only a complete listing proves that there is none."""
        since = created(inquiry.first_sent_at - EARLIER, None)
        for page in self._pages(INTENTS, [*since, ["expand[0]", "data.latest_charge"]]):
            if isinstance(page, Reply):
                return no_answer(page)
            for each in page:
                if reference_of(each) == inquiry.key:
                    return of_intent(inquiry.kind, each)
        return NotListed()

    def _refund(self, inquiry: Inquiry) -> Answer:
        since = created(inquiry.first_sent_at - EARLIER, None)
        which = [["payment_intent", inquiry.payment_id]] if inquiry.payment_id else since
        for page in self._pages("/v1/refunds", which):
            if isinstance(page, Reply):
                return no_answer(page)
            for each in page:
                if reference_of(each) == inquiry.key:
                    return of_refund(each)
        return NotListed()

    def _pages(
        self, path: str, fields: Sequence[Sequence[str]]
    ) -> Iterator[Sequence[Mapping[str, Any]] | Reply]:
        """Yield the pages of a list, newest first; the reply itself where it is none, as the last."""
        more: list[list[str]] = []
        while True:
            reply = self._get(path, [*fields, ["limit", "100"], *more])
            page, follows = a_page(reply)
            if page is None:
                yield reply
                return
            yield page
            if not follows:
                return
            more = [["starting_after", str(page[-1].get("id"))]]

    def _get(self, path: str, fields: Sequence[Sequence[str]]) -> Reply:
        return self._transport.ask("GET", path, worth_repeating, fields=fields)


def a_page(reply: Reply) -> tuple[Sequence[Mapping[str, Any]] | None, bool]:
    """Return a list's page, and whether others follow it; None where the answer is no such page."""
    body = reply.body if reply.status == HTTPStatus.OK and reply.body else {}
    page, follows = body.get("data"), body.get("has_more")
    if not isinstance(page, list) or not isinstance(follows, bool) or (follows and not page):
        return None, False
    return (page, follows) if all(isinstance(each, dict) for each in page) else (None, False)


def created(since: datetime, until: datetime | None) -> list[list[str]]:
    end = [["created[lt]", str(int(until.timestamp()))]] if until else []
    return [["created[gte]", str(int(since.timestamp()))], *end]
