"""What marks a payment at a provider as this installation's: numbers of users and plans are anybody's.

docs/writers.md says what the application writes into a payment's metadata.
"""

import re

from jobctl.job import At
from jobctl.providers.protocol import REFERENCE, Paid

FORM = re.compile(r"[0-9A-Za-z._-]{1,64}")
INSTALLATION = "installation"
NUMBERS = ("user_id", "plan_id", "payment_provider_id")
OTHERS = "succeeded at the provider and was none of this installation's"


def reference_in(paid: Paid) -> str | None:
    """Return what may be a reference of ours; what is none in form is nobody's."""
    told = paid.metadata.get(REFERENCE, "")
    return told if FORM.fullmatch(told) else None


def bears_ours(at: At, paid: Paid) -> bool:
    """Tell whether a payment is ours, if only by what MATCHING_REQUIRES says of one that names nobody."""
    if named := named_in(paid):
        return at.installation in named
    return at.settings.matching_requires == "metadata" and any(each in paid.metadata for each in NUMBERS)


def named_in(paid: Paid) -> set[str]:
    """Return the installations that a payment names: as such, and as the beginning of its reference."""
    name, dot, _ = (reference_in(paid) or "").partition(".")
    told = {paid.metadata.get(INSTALLATION, ""), name if dot else ""}
    return told - {""}
