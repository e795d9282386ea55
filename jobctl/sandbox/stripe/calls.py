"""Stripe's calls: what each takes, checks before it begins, and answers (Stripe: API reference).

Each is a function of the account and the parameters that raises what is wrong with these, and returns what
remains to be done: only from there on an answer, a refusal included, is stored under the request's key.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from jobctl.sandbox.protocol import Answer, as_json
from jobctl.sandbox.stripe import refunding
from jobctl.sandbox.stripe.account import Account, new_id
from jobctl.sandbox.stripe.amounts import check_charge, check_currency, check_step
from jobctl.sandbox.stripe.cards import CARDS, DAY
from jobctl.sandbox.stripe.errors import StripeError, missing
from jobctl.sandbox.stripe.objects import Intent
from jobctl.sandbox.stripe.parameters import Parameters

Run = Callable[[float], Answer]
CREATED = {"created[gt]", "created[gte]", "created[lt]", "created[lte]"}
PAGE = {*CREATED, "expand[", "limit", "starting_after"}
# Those that change nothing about the money are taken and not heeded.
UNHEEDED = {
    "automatic_payment_methods[",
    "confirmation_method",
    "error_on_requires_action",
    "payment_method_options[",
    "payment_method_types[",
    "receipt_email",
    "return_url",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
}
CREATION = {
    "amount",
    "capture_method",
    "confirm",
    "currency",
    "customer",
    "description",
    "expand[",
    "metadata[",
    "off_session",
    "payment_method",
    *UNHEEDED,
}
CAPTURE_METHODS = ("automatic", "automatic_async", "manual")
CANCELLATIONS = ("abandoned", "duplicate", "fraudulent", "requested_by_customer")
KEPT = 30 * DAY  # for which events are listed
REFUND_REASONS = ("duplicate", "fraudulent", "requested_by_customer")


@dataclass(frozen=True)
class Asked:
    """What a call has to go on."""

    parameters: Parameters
    key: str | None
    name: str  # of the object in the path, if there is one


def create(account: Account, asked: Asked) -> Run:
    given = asked.parameters
    given.refuse_unknown(CREATION)
    expand, confirm, off_session = given.expands("latest_charge"), *confirmation(given)
    order = ordered(given, account.office.conditions.unknown)

    def run(at: float) -> Answer:
        intent = Intent(new_id("pi"), int(at), **order)
        account.intents.add(intent)
        if confirm:
            account.confirm(intent, asked.key, at, off_session=off_session)
        elif intent.tried_with:
            intent.status = "requires_confirmation"
        return as_json(200, intent.shown(expand=expand))

    return run


def confirmation(given: Parameters) -> tuple[bool, bool]:
    confirm, off_session = given.boolean("confirm"), given.boolean("off_session")
    if off_session and not confirm:
        raise StripeError("off_session can only be used with confirm=true.", "off_session")
    if confirm and given.get("payment_method") is None:
        message = "This PaymentIntent cannot be confirmed: it is missing a payment method."
        raise StripeError(message, None, "payment_intent_unexpected_state")
    return confirm, off_session


def ordered(given: Parameters, unknown: Collection[str]) -> dict[str, Any]:
    amount, currency = given.integer("amount"), given.text("currency")
    check_currency(currency, unknown)
    check_charge(amount, currency)
    customer, method = given.get("customer"), given.get("payment_method")
    if customer is not None and (customer in unknown or not customer.startswith("cus_")):
        raise missing("customer", customer, "customer")
    if method is not None and (method in unknown or method not in CARDS):
        raise missing("PaymentMethod", method, "payment_method")
    return {
        "amount": amount,
        "currency": currency,
        "capture_method": given.choice("capture_method", CAPTURE_METHODS) or "automatic_async",
        "customer": customer,
        "tried_with": method,
        "description": given.get("description"),
        "metadata": given.metadata(),
    }


def capture(account: Account, asked: Asked) -> Run:
    given = asked.parameters
    given.refuse_unknown({"amount_to_capture", "expand[", "metadata["})
    intent = account.intents.get(asked.name, "intent", status=404)
    amount = optional_amount(given, "amount_to_capture", intent)
    metadata, expand = given.metadata(), given.expands("latest_charge")

    def run(at: float) -> Answer:
        account.capture(intent, amount, asked.key, at)
        intent.metadata |= metadata
        return as_json(200, intent.shown(expand=expand))

    return run


def cancel(account: Account, asked: Asked) -> Run:
    given = asked.parameters
    given.refuse_unknown({"cancellation_reason", "expand["})
    intent = account.intents.get(asked.name, "intent", status=404)
    reason, expand = given.choice("cancellation_reason", CANCELLATIONS), given.expands("latest_charge")

    def run(at: float) -> Answer:
        account.cancel(intent, reason, asked.key, at)
        return as_json(200, intent.shown(expand=expand))

    return run


def retrieve(account: Account, asked: Asked) -> Run:
    asked.parameters.refuse_unknown({"client_secret", "expand["})
    intent = account.intents.get(asked.name, "intent", status=404)
    expand = asked.parameters.expands("latest_charge")
    return lambda _: as_json(200, intent.shown(expand=expand))


def list_intents(account: Account, asked: Asked) -> Run:
    given = asked.parameters
    given.refuse_unknown({*PAGE, "customer"})
    customer, expand = given.get("customer"), given.expands("data.latest_charge")

    def run(at: float) -> Answer:
        found, more = account.intents.page(given, lambda each: customer in (None, each.customer), at)
        return page("/v1/payment_intents", [each.shown(expand=expand) for each in found], more=more)

    return run


def refund(account: Account, asked: Asked) -> Run:
    given = asked.parameters
    given.refuse_unknown({"amount", "metadata[", "payment_intent", "reason"})
    intent = account.intents.get(given.text("payment_intent"), "payment_intent")
    wanted = optional_amount(given, "amount", intent)
    reason, metadata = given.choice("reason", REFUND_REASONS), given.metadata()

    def run(at: float) -> Answer:
        made = refunding.refund(account, intent, wanted, at, reason=reason, metadata=metadata, key=asked.key)
        return as_json(200, made.shown())

    return run


def retrieve_refund(account: Account, asked: Asked) -> Run:
    asked.parameters.refuse_unknown(())
    found = account.refunds.get(asked.name, "id", status=404)
    return lambda _: as_json(200, found.shown())


def list_refunds(account: Account, asked: Asked) -> Run:
    given = asked.parameters
    given.refuse_unknown({*PAGE - {"expand["}, "payment_intent"})
    intent = given.get("payment_intent")

    def run(at: float) -> Answer:
        found, more = account.refunds.page(given, lambda each: intent in (None, each.payment_intent), at)
        return page("/v1/refunds", [each.shown() for each in found], more=more)

    return run


def list_events(account: Account, asked: Asked) -> Run:
    given = asked.parameters
    given.refuse_unknown({*PAGE - {"expand["}, "type", "types["})
    types: set[str | None] = {value for _, value in given.bracketed("types")}
    types = types or {given.get("type")}

    def run(at: float) -> Answer:
        found, more = account.events.page(
            given, lambda each: each.created > at - KEPT and (types == {None} or each.type in types), at
        )
        return page("/v1/events", [each.shown() for each in found], more=more)

    return run


def optional_amount(given: Parameters, name: str, intent: Intent) -> int | None:
    if given.get(name) is None:
        return None
    amount = given.integer(name)
    check_step(amount, intent.currency, name)
    return amount


def page(url: str, data: list[dict[str, Any]], *, more: bool) -> Answer:
    return as_json(200, {"object": "list", "url": url, "has_more": more, "data": data})
