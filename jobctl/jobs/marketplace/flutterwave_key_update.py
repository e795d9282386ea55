"""Renew Flutterwave's access tokens before they expire.

A token is asked for with its client's credentials some minutes before the old one ends. A refusal keeps the
old one and needs someone: it stays so until the credentials change, and is tried again every hour.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, or_

from jobctl.job import At, Broken, Call, Due, EffectStep, Lost, Means, RowChanges, ScopeDownError
from jobctl.providers.switchboard import concurrency
from jobctl.providers.tokens import FLUTTERWAVE, Ask, Refused, Token, Unclear
from jobctl.sealing import SealedError, seal, unseal
from jobctl.tables.marketplace import provider_credentials
from jobctl.tables.types import inline

if TYPE_CHECKING:
    from jobctl.providers.flutterwave import Flutterwave

ours = provider_credentials.c
AGAIN = timedelta(hours=1)  # after a refusal


class Credential(NamedTuple):
    """The credentials of one client, as they are stored."""

    id: int
    claimed_by: int | None
    client_id: str
    client_secret: str
    token_expires_at: datetime | None


def due(at: At) -> Due:
    return Due(
        provider_credentials,
        {
            "they are of Flutterwave": ours.provider == inline(FLUTTERWAVE),
            "they are active": ours.active,
            "their token is missing, or ends within TOKEN_REFRESH_MARGIN": or_(
                ours.access_token.is_(None),
                ours.token_expires_at.is_(None),
                ours.token_expires_at <= at.now + at.settings.token_refresh_margin,
            ),
            "they were not refused in the last hour, or have changed since": or_(
                ours.refused_at.is_(None),
                ours.refused_at <= at.now - AGAIN,
                ours.updated_at > ours.refused_at,
            ),
        },
        since=ours.updated_at,
        put_off=and_(ours.active, ours.refused_at > at.now - AGAIN),
        read={name: ours[name] for name in Credential._fields},
    )


def connect(at: At, means: Means) -> "Flutterwave":
    from jobctl.providers.flutterwave import Flutterwave  # noqa: PLC0415 (most runs have nothing due)

    return Flutterwave(at.settings, means)


def ask(at: At, credential: Credential) -> Call[Ask] | Broken:
    try:
        secret = unseal(at.settings.jobctl_secret_key, credential.client_secret)
    except SealedError as error:
        return Broken(f"its client secret cannot be used: {error}")
    shown = {"request": f"POST {at.settings.flutterwave_token_url}", "client_id": credential.client_id}
    return Call((FLUTTERWAVE,), Ask(credential.client_id, secret, at.present), shown)


def call(flutterwave: "Flutterwave", payload: Ask) -> Token | Refused | Unclear:
    return flutterwave.token(payload)


def settle(
    at: At,
    credential: Credential,
    answer: Token | Refused | Unclear | Lost | Broken | ScopeDownError,
    change: RowChanges,
) -> str:
    if isinstance(answer, Token):
        sealed = seal(at.settings.jobctl_secret_key, answer.access_token)
        values = {"token_expires_at": answer.expires_at, "token_at": at.present}
        change.update(access_token=sealed, refused_at=None, **values)
        return "renewed"
    if isinstance(answer, Lost | ScopeDownError):
        return "asked again later"
    if isinstance(answer, Refused):
        change.update(refused_at=at.present)
        change.error(f"Flutterwave refused a token ({answer.code}): {answer.reason}; {kept(at, credential)}")
        return "refused"
    change.error(f"no token was had: {answer.reason}; {kept(at, credential)}")
    return "failed"


def kept(at: At, credential: Credential) -> str:
    ends = credential.token_expires_at
    if ends is None or ends <= at.now:
        return "there is none now"
    return f"the old one is good until {ends:%Y-%m-%d %H:%MZ}"


JOB = EffectStep(
    row=Credential,
    due=due,
    connect=connect,
    ask=ask,
    call=call,
    settle=settle,
    concurrency=concurrency,
)
