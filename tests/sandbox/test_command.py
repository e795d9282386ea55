"""`jobctl sandbox`: a process of its own."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from jobctl.errors import Exit
from jobctl.sandbox import Sandbox
from tests.sandbox.client import TIMEOUT, Client, ok
from tests.sandbox.merchant import Merchant
from tests.sandbox.shop import Shop
from tests.sandbox.test_flutterwave import ASKED
from tests.world import JOBCTL, command

KEPT = ("PATH", "PYTHONPATH")  # of another checkout than the installed one, processes are to be of the same
NAMES = ("Stripe", "YooKassa", "Paystack", "Flutterwave")


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [JOBCTL, "sandbox", *arguments],
        env={name: os.environ[name] for name in KEPT if name in os.environ} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def settings_of(process: "subprocess.Popen[str]") -> dict[str, str]:
    """Return what it says to set."""
    assert process.stdout
    first, *others = (process.stdout.readline() for _ in range(6))
    said = dict(re.findall(r"([A-Z_]+)=(\S+)", "".join(others)))
    assert said["STRIPE_API_BASE"] in first
    assert all(name in first for name in NAMES)
    return said


def document_of(process: "subprocess.Popen[str]") -> dict[str, str]:
    """Return what its document says to set."""
    assert process.stdout
    told = json.loads(process.stdout.readline())
    assert told["control"] == f"{told['url']}/_sandbox/"
    ok(requests.get(f"{told['control']}ledger", timeout=TIMEOUT))
    return dict(told["settings"])


@pytest.mark.parametrize(("options", "read"), [([], settings_of), (["--json"], document_of)])
def test_what_it_says_to_set_works(
    options: list[str], read: Callable[["subprocess.Popen[str]"], dict[str, str]]
) -> None:
    with started("--port", "0", *options) as process:
        said = read(process)
        assert {"BILLING_BASE_URL", "APIKEY"} < set(said)
        with Client(said["STRIPE_API_BASE"], said["STRIPE_SECRET_KEY"]) as client:
            ok(client.hold())
        shop = said["YOOKASSA_SHOP_ID"], said["YOOKASSA_SECRET_KEY"]
        with Shop(said["YOOKASSA_API_BASE"], shop) as another:
            ok(another.charge())
        with Merchant(said["PAYSTACK_URL"], said["PAYSTACK_SECRET_KEY"]) as merchant:
            assert merchant.listed() == []
        ok(requests.post(said["FLUTTERWAVE_TOKEN_URL"], data=ASKED, timeout=TIMEOUT))
        ledger = ok(requests.get(f"{said['STRIPE_API_BASE']}/_sandbox/ledger", timeout=TIMEOUT))
        effects = [(each["provider"], each["kind"]) for each in ledger["effects"]]
        assert effects == [("stripe", "hold"), ("yookassa", "charge")]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, Exit.TERMINATED), (signal.SIGINT, Exit.INTERRUPTED)]
)
def test_it_runs_until_it_is_stopped(number: int, code: Exit) -> None:
    with (
        started("--port", "0", "--latency", "20ms") as process,
        Client(settings_of(process)["STRIPE_API_BASE"]) as client,
    ):
        ok(client.hold())
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (code, "")


def test_unsound_settings_are_none_of_its_business() -> None:
    with started("--port", "0", DATABASE_URL="mysql://nowhere", STOP_GRACE="nonsense") as process:
        assert settings_of(process)["STRIPE_SECRET_KEY"].startswith("sk_test_")


def test_a_port_in_use_is_one_sentence(sandbox: Sandbox) -> None:
    port = sandbox.url.rpartition(":")[2]
    done = command("sandbox", "--port", port)
    assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
    assert len(done.err.splitlines()) == 1
    assert port in done.err


@pytest.mark.parametrize("wrong", [["--port", "70000"], ["--latency", "soon"], ["--latency", "20"]])
def test_wrong_usage(wrong: list[str]) -> None:
    assert command("sandbox", *wrong).exit_code == Exit.USAGE


def test_its_help_names_whom_it_imitates() -> None:
    said = command("sandbox", "--help").out
    assert [name for name in NAMES if name not in said] == []
