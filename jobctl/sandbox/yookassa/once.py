"""What is asked under a key is done once (YooKassa: Interaction format, Idempotency)."""

import json
import re
from dataclasses import replace
from functools import partial

from jobctl.sandbox.protocol import Answer, Task, as_json
from jobctl.sandbox.yookassa.account import Account
from jobctl.sandbox.yookassa.calls import Asked, Run
from jobctl.sandbox.yookassa.errors import YooKassaError, refusal
from jobctl.sandbox.yookassa.keys import Keys, Use
from jobctl.sandbox.yookassa.routes import Route

KEY = re.compile(r"[0-9a-zA-Z+\-_.]{1,64}")


def once(path: str, route: Route, account: Account, asked: Asked, at: float) -> Answer | Task:
    """Let a request be done once under its key.

    The documents leave open what is said while the first is still under way. Here it is the 500: of what they
    have it alone says that the result isn't known, and that the same is to be sent again.
    """
    key = known_key(asked.key)
    what = json.dumps([path, asked.given], sort_keys=True)
    use = account.keys.find(key, at)
    if use and use.asked != what:
        raise YooKassaError("Idempotence key duplicated", "Idempotence-Key")
    if use and use.under_way:
        raise refusal(500)
    if use and use.show:
        return replace(as_json(200, use.show()), replayed=True)
    run = route.check(account, asked)
    taken = account.keys.take(key, what, at)
    return Task(partial(done_once, run, account.keys, key, taken), lambda _: taken.end())


def known_key(key: str | None) -> str:
    if not key or not KEY.fullmatch(key):
        description = "An Idempotence-Key of 1 to 64 characters out of 0-9 a-z A-Z + - _ . is required."
        raise YooKassaError(description, "Idempotence-Key")
    return key


def done_once(run: Run, keys: Keys, key: str, use: Use, at: float) -> Answer:
    """Do what was asked, and remember it even where the answer is never seen; a refusal frees the key."""
    try:
        use.show = run(at)
    except YooKassaError as refused:
        keys.forget(key)
        return refused.answer()
    return as_json(200, use.show())
