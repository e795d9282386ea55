"""Secrets at rest: encrypted with the keys of JOBCTL_SECRET_KEY, if there are any.

A sealed one is `fernet:` and a Fernet token (the specification is that of github.com/fernet/spec); without
the setting a secret is stored as it is.
"""

from collections.abc import Sequence
from typing import Any

PREFIX = "fernet:"


class SealedError(ValueError):
    """A secret that none of the keys opens."""


def seal(keys: Sequence[str] | None, secret: str) -> str:
    """Return what to store of a secret: encrypted with the first of the keys."""
    return PREFIX + box(keys).encrypt(secret.encode()).decode() if keys else secret


def unseal(keys: Sequence[str] | None, stored: str) -> str:
    """Return the secret; raises SealedError where none of the keys opens it."""
    if not stored.startswith(PREFIX):
        return stored
    if not keys:
        raise SealedError("it is encrypted, and JOBCTL_SECRET_KEY is not set")
    from cryptography.fernet import InvalidToken  # noqa: PLC0415 (only those who have keys pay for it)

    try:
        secret: bytes = box(keys).decrypt(stored.removeprefix(PREFIX))
    except InvalidToken as error:
        raise SealedError("it is encrypted with a key that JOBCTL_SECRET_KEY does not have") from error
    return secret.decode()


def box(keys: Sequence[str]) -> Any:
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 (the same)

    return MultiFernet([Fernet(each) for each in keys])


def new_key() -> str:
    from cryptography.fernet import Fernet  # noqa: PLC0415 (the same)

    return Fernet.generate_key().decode()
