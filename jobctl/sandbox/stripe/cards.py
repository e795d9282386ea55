"""Test payment methods under the names that Stripe documents (Stripe: Testing)."""

from dataclasses import dataclass, replace

DAY, HOUR = 86_400, 3_600
# How long a hold of a merchant-initiated payment lasts (Stripe: Place a hold on a payment method).
VISA_WINDOW, OTHER_WINDOW = 4 * DAY + 18 * HOUR, 7 * DAY


@dataclass(frozen=True)
class Decline:
    code: str
    message: str
    decline_code: str | None = None
    advice_code: str | None = None


@dataclass(frozen=True)
class Card:
    brand: str
    last4: str
    decline: Decline | None = None
    needs_customer: bool = False  # each payment has to be authenticated, which nobody can do off session

    @property
    def window(self) -> int:
        return VISA_WINDOW if self.brand == "visa" else OTHER_WINDOW


def declined(decline_code: str, advice_code: str | None = None) -> Decline:
    return Decline("card_declined", "Your card was declined.", decline_code, advice_code)


VISA = Card("visa", "4242")
AUTHENTICATION = Decline(
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
    "authentication_required",
)
GENERIC = declined("generic_decline", "try_again_later")
FUNDS = replace(
    declined("insufficient_funds", "try_again_later"), message="Your card has insufficient funds."
)
EXPIRED = Decline("expired_card", "Your card has expired.")
CVC = Decline("incorrect_cvc", "Your card's security code is incorrect.")
PROCESSING = Decline(
    "processing_error", "An error occurred while processing your card. Try again in a little bit."
)
LOST, STOLEN = declined("lost_card"), declined("stolen_card")

CARDS = {
    "pm_card_visa": VISA,
    "pm_card_visa_debit": Card("visa", "5556"),
    "pm_card_mastercard": Card("mastercard", "4444"),
    "pm_card_mastercard_debit": Card("mastercard", "8210"),
    "pm_card_mastercard_prepaid": Card("mastercard", "5100"),
    "pm_card_amex": Card("amex", "0005"),
    "pm_card_discover": Card("discover", "1117"),
    "pm_card_diners": Card("diners", "0004"),
    "pm_card_jcb": Card("jcb", "0505"),
    "pm_card_unionpay": Card("unionpay", "0005"),
    "pm_card_visa_chargeDeclined": Card("visa", "0002", GENERIC),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Card("visa", "9995", FUNDS),
    "pm_card_visa_chargeDeclinedLostCard": Card("visa", "9987", LOST),
    "pm_card_visa_chargeDeclinedStolenCard": Card("visa", "9979", STOLEN),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": Card(
        "visa", "6975", declined("card_velocity_exceeded")
    ),
    "pm_card_chargeDeclinedExpiredCard": Card("visa", "0069", EXPIRED),
    "pm_card_chargeDeclinedIncorrectCvc": Card("visa", "0127", CVC),
    "pm_card_chargeDeclinedProcessingError": Card("visa", "0119", PROCESSING),
    "pm_card_chargeCustomerFail": Card("visa", "0341", GENERIC),
    "pm_card_radarBlock": Card("visa", "0019", declined("fraudulent")),
    "pm_card_authenticationRequired": Card("visa", "3184", needs_customer=True),
    "pm_card_authenticationRequiredSetupForOffSession": Card("visa", "0446"),
    "pm_card_threeDSecure2Required": Card("visa", "3220", needs_customer=True),
}
# Older pages of the documents spell these without the brand, and Stripe still takes them.
for _name in ("", "InsufficientFunds", "LostCard", "StolenCard"):
    CARDS[f"pm_card_chargeDeclined{_name}"] = CARDS[f"pm_card_visa_chargeDeclined{_name}"]
