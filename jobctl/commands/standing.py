"""Whether a provider still has a payment that a person says it has nothing of."""

import sys
from typing import Any

from jobctl.errors import Exit, MisconfiguredError, UnreachableError, UsageError
from jobctl.job import At, Means, ScopeDownError
from jobctl.providers.protocol import Found, Mismatched, NotFound, Paid, Pending, Unknown
from jobctl.providers.switchboard import Providers, account, connect
from jobctl.steps.running import Stop


def refuse_standing(at: At, operation: Any) -> None:
    """Refuse to ask anew for what stands at the provider, wholly or in part, or where it cannot tell."""
    if operation.payment_id is None:
        return  # there is nothing by which it could be asked about
    provider, named = operation.provider, f"payment {operation.payment_id} at {operation.provider}"
    try:
        if operation.account != account(at.settings, provider):
            raise MisconfiguredError(f"{named} is of the account {operation.account}: give that one's key")
        with connect(at, Means(Stop(at.settings.stop_grace), 1, sys.stdout)) as providers:
            there = providers.retrieve(provider, operation.payment_id)
            stands = standing(there, providers)
    except ScopeDownError as down:
        refused = MisconfiguredError if down.exit_code == Exit.MISCONFIGURED else UnreachableError
        raise refused(f"{provider} cannot be asked about {named}: {down.reason}") from down
    if isinstance(there, Unknown | Mismatched):
        raise UnreachableError(f"nobody can tell what became of {named}, try again: {there.reason}")
    if isinstance(there, NotFound):
        raise UsageError(f"{provider} does not know {named}: is this the right key?")
    if stands:
        raise UsageError(f"{named} stands, {stands}: cancel it or give it back first")


def standing(there: Found, providers: Providers) -> str | None:
    """Say how a payment stands; None where it doesn't."""
    if isinstance(there, Pending):
        return "held or under way"
    if not isinstance(there, Paid):
        return None
    back = providers.given_back(there) if there.refunded else None
    if back == there.amount:
        return None
    return f"paid, {there.amount}" + (f", of which {back} was given back" if back else "")
