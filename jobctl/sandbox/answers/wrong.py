"""Answers that are about something else than what was asked; all but `beside` keep their shape."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from jobctl.sandbox.answers.strike import OK, Distort, Strike, document_of, saying
from jobctl.sandbox.protocol import Answer

Thing = dict[str, Any]
CENT = "0.01"
TAKEN = ("amount_received", "amount_capturable", "amount_captured")
NO_STATUS = "on_hold"  # which no provider has


def about(change: Callable[[Thing], None]) -> Distort:
    """Return what changes an object in an answer, and of a list each; refusals stay as they are."""

    def distort(answer: Answer, _: Strike) -> Answer:
        document = document_of(answer)
        if document is None or answer.status != OK:
            return answer
        for each in things(document):
            change(each)
        return saying(answer, document)

    return distort


def things(document: Thing) -> list[Thing]:
    """Return what an answer is about, in lists and events too; Paystack has it in `data`."""
    found: Any = document.get("data", document.get("items", document))
    many = found if isinstance(found, list) else [found]
    return [each["data"]["object"] if is_event(each) else each for each in many]


def is_event(thing: Thing) -> bool:
    return thing.get("object") == "event"


def another(name: Any) -> Any:
    """Return an id that isn't this one, and looks like it."""
    if isinstance(name, int):
        return name + 1
    return name[:-1] + ("1" if name[-1:] != "1" else "2")


def other_id(thing: Thing) -> None:
    thing["id"] = another(thing["id"])


def other_amount(thing: Thing) -> None:
    """Let it be of a cent."""
    if isinstance(thing["amount"], dict):
        thing["amount"]["value"] = CENT
        return
    thing["amount"] = 1
    thing.update({name: 1 for name in TAKEN if thing.get(name)})


def other_received(thing: Thing) -> None:
    """Let a cent have been taken; only Stripe tells that apart from what was asked for."""
    if "amount_received" not in thing:
        other_amount(thing)
        return
    thing["amount_received"] = 1
    if isinstance(thing.get("latest_charge"), dict):
        thing["latest_charge"]["amount_captured"] = 1


def other_currency(thing: Thing) -> None:
    money = thing["amount"] if isinstance(thing["amount"], dict) else thing
    was = money["currency"]
    other = "EUR" if was.upper() == "USD" else "USD"
    money["currency"] = other if was.isupper() else other.lower()


def other_mode(thing: Thing) -> None:
    for name in ("livemode", "test"):
        if name in thing:
            thing[name] = not thing[name]
    if "domain" in thing:
        thing["domain"] = "live"


def other_reference(thing: Thing) -> None:
    """Let it be somebody else's: by its metadata, at Paystack by its reference or its note."""
    if thing.get("metadata"):
        thing["metadata"] = {name: another(value) for name, value in thing["metadata"].items()}
    for name in ("reference", "merchant_note"):
        if name in thing:
            thing[name] = another(thing[name])


def no_metadata(thing: Thing) -> None:
    thing["metadata"] = {}


def other_payment(thing: Thing) -> None:
    """Let a refund be one of another payment."""
    for name in ("payment_intent", "payment_id", "transaction"):
        its = thing.get(name)
        if isinstance(its, dict):
            its.update(id=another(its["id"]), reference=another(its["reference"]))
        elif its:
            thing[name] = another(its)


def other_status(thing: Thing) -> None:
    thing["status"] = NO_STATUS


def unpaid(thing: Thing) -> None:
    """Let no money have come in, whatever the status says."""
    for name, value in (("paid", False), ("paid_at", None), ("amount_received", 0)):
        if name in thing:
            thing[name] = value


def beside(answer: Answer, _: Strike) -> Answer:
    """Let a list have before each entry another, of a cent (an event of one) and with the same metadata."""
    document = document_of(answer)
    if document is None or answer.status != OK:
        return answer
    name = "items" if "items" in document else "data"
    twins = deepcopy(document[name])
    for each in filter(is_event, twins):
        other_id(each)
    for each in things({name: twins}):
        other_id(each)
        other_amount(each)
    document[name] = [each for pair in zip(twins, document[name], strict=True) for each in pair]
    return saying(answer, document)


WRONG: Mapping[str, Distort] = {
    **{
        change.__name__: about(change)
        for change in (
            other_id,
            other_amount,
            other_received,
            other_currency,
            other_mode,
            other_reference,
            no_metadata,
            other_payment,
            other_status,
            unpaid,
        )
    },
    "beside": beside,
}
