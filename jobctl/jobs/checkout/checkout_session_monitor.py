"""Ask the billing service about every open checkout session.

An answer of 200 says that a session is still active; any other status is told with its code, and what
prevents an answer with its reason. With CHECKOUT_UPDATE_STATUS=true a session gets the final status that the
answer tells, and becomes `timeout` once it was open for longer than CHECKOUT_MAX_AGE and is open there still,
or unknown.
"""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from jobctl.errors import Exit
from jobctl.job import At, Broken, Call, Due, EffectChanges, EffectStep, Lost, Means, ScopeDownError
from jobctl.output import legible
from jobctl.providers.checkouts import BILLING, Answered, Silent
from jobctl.settings import Settings
from jobctl.tables.checkout import CHECKOUT_TRANSITIONS, checkout_session
from jobctl.tables.types import inline

if TYPE_CHECKING:
    from jobctl.providers.billing import Billing

ours = checkout_session.c
FINAL = CHECKOUT_TRANSITIONS["open"]
SUCCESS, OTHER, ERROR = "success", "other", "error"
MEANWHILE = "changed meanwhile"  # as the frame counts what somebody else has changed before us


class Session(NamedTuple):
    """An open checkout session."""

    id: str
    claimed_by: int | None
    billing_checkout_id: str | None
    opened_at: datetime

    def __str__(self) -> str:
        return f"{legible(self.id)} ({legible(self.billing_checkout_id or '-')})"


def due(at: At) -> Due:
    return Due(
        checkout_session,
        {
            "it is open": ours.status == inline("open"),
            "it was opened before the run began": ours.opened_at <= at.now,
        },
        since=ours.opened_at,
        order=ours.opened_at,
        read={name: ours[name] for name in Session._fields},
    )


def connect(at: At, means: Means) -> "Billing":
    from jobctl.providers.billing import Billing  # noqa: PLC0415 (most runs have nothing open)

    return Billing(at.settings, means)


def ask(at: At, session: Session) -> Call[str] | Broken:
    number = session.billing_checkout_id
    if not number:
        return Broken("it has no billing_checkout_id")
    if number in (".", ".."):  # in a path they would name another place
        return Broken(f"its billing_checkout_id {number!r} is none that can be asked about")
    request = f"GET {at.settings.billing_base_url}/billing/api/v1/paysession/{number}"
    return Call((BILLING,), number, {"request": request})


def call(billing: "Billing", payload: str) -> Answered | Silent:
    return billing.session(payload)


def settle(
    at: At,
    session: Session,
    answer: Answered | Silent | Lost | Broken | ScopeDownError,
    change: EffectChanges,
) -> str:
    if isinstance(answer, Answered):
        return answered(at, session, answer, change)
    reason = answer.reason
    change.error(reason)
    if isinstance(answer, Silent) and not answer.reached:
        change.fail(Exit.UNREACHABLE, f"{BILLING} could not be reached: {reason}")
    if isinstance(answer, Silent) and answer.timed_out:
        change.say(f"⏰ Timeout: Checkout session request timed out for session {session}")
    else:
        change.say(f"❌ Error checking session {session}: {legible(reason)}")
    return ERROR


def answered(at: At, session: Session, answer: Answered, change: EffectChanges) -> str:
    active = answer.status == HTTPStatus.OK
    becomes = status_of(at, session, answer) if at.settings.checkout_update_status else None
    if becomes:
        change.update(status=becomes, closed_at=at.present)
    now = f"is now {becomes}" if becomes else "is still active"
    if active:
        change.say(f"✅ Success: Checkout session {session} {now}")
        return SUCCESS
    more = f" and {now}" if becomes else ""
    change.say(f"ℹ️ Checkout session {session} returned status {answer.status}{more}")  # noqa: RUF001 (the sign)
    return OTHER


def status_of(at: At, session: Session, answer: Answered) -> str | None:
    """Return the status that an open session gets, None where it stays open."""
    told = answer.says if answer.status == HTTPStatus.OK else None
    if told in FINAL:
        return told
    old = session.opened_at <= at.present - at.settings.checkout_max_age
    surely_not_paid = told == "open" or answer.status == HTTPStatus.NOT_FOUND
    return "timeout" if old and surely_not_paid else None


def opening(at: At, number: int) -> str:
    return f"🔍 [{moment(at)}] Checking {number} open checkout sessions..."


def closing(at: At, number: int, counts: Mapping[str, int]) -> str:
    """Say what the checks came to, and what kept sessions from being checked."""
    left = number - sum(counts.get(each, 0) for each in (SUCCESS, OTHER, ERROR, MEANWHILE))
    parts = [f"{counts.get(SUCCESS, 0)} success"]
    parts += [f"{counts[OTHER]} other"] if counts.get(OTHER) else []
    parts += [f"{counts.get(ERROR, 0)} errors"]
    parts += [f"{counts[MEANWHILE]} closed meanwhile"] if counts.get(MEANWHILE) else []
    parts += [f"{left} not asked"] if left > 0 else []
    return f"📊 [{moment(at)}] Checkout session check complete: {', '.join(parts)}"


def moment(at: At) -> str:
    return at.now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.now.microsecond // 1000:03}Z"


def concurrency(settings: Settings) -> int:
    return settings.checkout_concurrency


JOB = EffectStep(
    row=Session,
    due=due,
    connect=connect,
    ask=ask,
    call=call,
    settle=settle,
    concurrency=concurrency,
    looks_up=True,
    polls=True,
    opening=opening,
    closing=closing,
)
