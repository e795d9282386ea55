"""What a person does by hand at a provider, of which no request of ours knows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jobctl.sandbox.checks import require


@dataclass(frozen=True)
class Act:
    name: str  # one of ACTS
    payment: str  # its id; at Paystack its reference; where it is about a refund that one's id
    amount: int | None = None  # in the provider's smallest unit; None: all that there is
    reason: str | None = None  # in the provider's words; None: the usual one
    method: str | None = None  # what the customer pays with
    status: str | None = None  # what a refund becomes

    def __post_init__(self) -> None:
        texts = (self.payment, self.reason or "", self.method or "", self.status or "")
        require(all(isinstance(each, str) for each in texts), "all but the amount are strings")
        amount = self.amount
        sound = amount is None or (type(amount) is int and amount > 0)
        require(sound, "amount is a whole number of the smallest unit, above 0")


class Dashboard:
    """The providers' dashboards. Each method returns the id of what it was about or made.

    `account` is the key of another account than the sandbox's own. Raises ValueError for what the provider
    has no such thing for, and for what it would refuse.
    """

    def __init__(self, act: Callable[[str, Act, str | None], str]) -> None:
        self._act = act

    def cancel(
        self, provider: str, payment: str, reason: str | None = None, *, account: str | None = None
    ) -> str:
        """Let a hold go; Stripe also cancels what is open."""
        return self._act(provider, Act("cancel", payment, reason=reason), account)

    def capture(
        self, provider: str, payment: str, amount: int | None = None, *, account: str | None = None
    ) -> str:
        return self._act(provider, Act("capture", payment, amount), account)

    def refund(
        self,
        provider: str,
        payment: str,
        amount: int | None = None,
        reason: str | None = None,
        *,
        account: str | None = None,
    ) -> str:
        """Give money back, and return the refund's id. Stripe alone keeps a reason."""
        return self._act(provider, Act("refund", payment, amount, reason), account)

    def settle(self, provider: str, refund: str, status: str, *, account: str | None = None) -> str:
        """Let a refund become what the provider says of it: failed, say."""
        return self._act(provider, Act("settle", refund, status=status), account)

    def complete(
        self, provider: str, payment: str, method: str | None = None, *, account: str | None = None
    ) -> str:
        """Let the customer come back and pay what is open; at Stripe with another card, if that is named."""
        return self._act(provider, Act("complete", payment, method=method), account)

    def lapse(self, provider: str, payment: str, *, account: str | None = None) -> str:
        """Let what is held, or pending at YooKassa, run out before its time."""
        return self._act(provider, Act("lapse", payment), account)

    def reverse(self, provider: str, payment: str, *, account: str | None = None) -> str:
        """Let the bank take a payment back (Paystack)."""
        return self._act(provider, Act("reverse", payment), account)


ACTS = ("cancel", "capture", "refund", "settle", "complete", "lapse", "reverse")
ByHand = Mapping[str, Callable[[Any, Act, float], str]]


def done_by_hand(acts: ByHand, provider: str, act: Act, account: object, at: float) -> str:
    """Do it in an account, and return an id; raises ValueError where the provider has no such act."""
    require(act.name in acts, f"nobody can {act.name} at {provider}: {', '.join(acts) or 'nothing'}")
    return acts[act.name](account, act, at)
