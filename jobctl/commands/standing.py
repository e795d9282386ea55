"""Whether a provider still has a payment that a person says it has nothing of."""

import sys
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from jobctl.db import Database
from jobctl.errors import Exit, MisconfiguredError, UnreachableError, UsageError
from jobctl.findings import MISMATCH
from jobctl.job import At, Means, ScopeDownError
from jobctl.providers.proof import BEGINNING
from jobctl.providers.protocol import Declined, NotFound, Paid
from jobctl.providers.switchboard import account, connect
from jobctl.steps.running import Stop
from jobctl.tables.journal import money_operations

journal = money_operations.c


def refuse_standing(at: At, row: Mapping[Any, Any], database: Database) -> None:
    """Refuse to ask anew for what stands at the provider, or where that cannot be asked."""
    made = select(journal.kind, journal.provider, journal.account, journal.payment_id)
    with database.transaction() as connection:
        its = journal.key == str(row["once_key"]).partition(".")[2]
        operation = connection.execute(made.where(its)).first()
    if row["kind"] != MISMATCH or operation is None or operation.kind not in BEGINNING:
        raise UsageError(f"--nothing-there is for a {MISMATCH} of a hold or a charge")
    if operation.payment_id is None:
        return  # by nothing that it could be asked for
    named = f"payment {operation.payment_id} at {operation.provider}"
    try:
        if operation.account != account(at.settings, operation.provider):
            raise MisconfiguredError(f"{named} is of the account {operation.account}: give that one's key")
        with connect(at, Means(Stop(at.settings.stop_grace), 1, sys.stdout)) as providers:
            there = providers.retrieve(operation.provider, operation.payment_id)
    except ScopeDownError as down:
        refused = MisconfiguredError if down.exit_code == Exit.MISCONFIGURED else UnreachableError
        raise refused(f"{operation.provider} cannot be asked about {named}: {down.reason}") from down
    if isinstance(there, NotFound):
        raise UsageError(f"{operation.provider} does not know {named}: is this the right key?")
    if not isinstance(there, Declined) and not (isinstance(there, Paid) and there.refunded):
        raise UsageError(f"{named} stands ({told(there)}): cancel it or give it back first")


def told(there: Any) -> str:
    """Say what a provider has of a payment."""
    amount = getattr(there, "amount", None)
    return getattr(there, "reason", None) or (f"paid, {amount}" if amount else "held, or under way")
