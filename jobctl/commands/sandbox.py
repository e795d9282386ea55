"""`jobctl sandbox`: payment providers' stand-ins on this machine."""

import gc
import json
import signal
from collections.abc import Mapping, Sequence
from datetime import timedelta

import click

from jobctl import parsing
from jobctl.commands.shared import Text, as_json
from jobctl.errors import Exit, MisconfiguredError
from jobctl.sandbox import (
    BILLING_KEY,
    PAYSTACK_SECRET_KEY,
    SECRET_KEY,
    YOOKASSA_SECRET_KEY,
    YOOKASSA_SHOP_ID,
    Sandbox,
)
from jobctl.sandbox.control import PREFIX
from jobctl.sandbox.flutterwave import TOKENS

PORT = 4242
NAMES = "Stripe, YooKassa, Paystack, Flutterwave and the billing service"
CODES = {signal.SIGTERM: Exit.TERMINATED, signal.SIGINT: Exit.INTERRUPTED}


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Where to listen; 0: any free port.",
)
@click.option(
    "--latency",
    type=Text(parsing.duration, "duration"),
    metavar="DURATION",
    help="Let each request take so long, such as 20ms.",
)
@as_json
def sandbox(*, port: int, latency: timedelta | None, as_json: bool) -> int:
    """Imitate Stripe, YooKassa, Paystack, Flutterwave and the billing service: protocols, cards, bad days.

    Listens on the loopback address only, until it is stopped, and keeps its state in memory. Below
    /_sandbox/ a ledger tells what has moved (GET ledger), the clock can be moved forward (POST clock), faults
    can be switched on (POST faults), customers pay without a request of ours (POST payments), and checkout
    sessions are opened and closed (POST checkouts). A person acts at a provider by hand (POST
    dashboard/cancel and others). With --json the first line is an object: its url, the control API's, and the
    settings that have the jobs go to it.
    """
    try:
        made = Sandbox(port=port, latency=latency.total_seconds() if latency else 0.0)
    except OSError as error:
        raise MisconfiguredError(
            f"cannot listen on port {port} ({parsing.reason(error)}): name another with --port"
        ) from error
    # Blocked before there are threads, so that the signal waits for this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, CODES)
    gc.enable()
    with made:
        click.echo(document(made.url) if as_json else told(made.url))
        return CODES[signal.Signals(signal.sigwait(CODES))]


def settings_of(url: str) -> Sequence[Mapping[str, str]]:
    """Return what to set for each provider."""
    return (
        {"STRIPE_API_BASE": url, "STRIPE_SECRET_KEY": SECRET_KEY},
        {
            "YOOKASSA_API_BASE": url,
            "YOOKASSA_SHOP_ID": YOOKASSA_SHOP_ID,
            "YOOKASSA_SECRET_KEY": YOOKASSA_SECRET_KEY,
        },
        {"PAYSTACK_URL": url, "PAYSTACK_SECRET_KEY": PAYSTACK_SECRET_KEY},
        {"FLUTTERWAVE_TOKEN_URL": f"{url}{TOKENS}"},
        {"BILLING_BASE_URL": url, "APIKEY": BILLING_KEY},
    )


def told(url: str) -> str:
    said = (" ".join(f"{name}={value}" for name, value in each.items()) for each in settings_of(url))
    heading = f"sandbox of {NAMES} at {url}, its control API at {url}{PREFIX}"
    return "\n".join([heading, *(f"export {each}" for each in said)])


def document(url: str) -> str:
    # Its keys are nobody's secrets, so that nothing of this is masked.
    settings = {name: value for each in settings_of(url) for name, value in each.items()}
    return json.dumps({"url": url, "control": f"{url}{PREFIX}", "settings": settings})
