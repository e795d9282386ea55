"""`jobctl sandbox`: payment providers' stand-ins on this machine."""

import gc
import signal
from datetime import timedelta

import click

from jobctl import parsing
from jobctl.commands.shared import Text
from jobctl.errors import Exit, MisconfiguredError
from jobctl.sandbox import (
    BILLING_KEY,
    PAYSTACK_SECRET_KEY,
    SECRET_KEY,
    YOOKASSA_SECRET_KEY,
    YOOKASSA_SHOP_ID,
    Sandbox,
)
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
def sandbox(*, port: int, latency: timedelta | None) -> int:
    """Imitate Stripe, YooKassa, Paystack, Flutterwave and the billing service: protocols, cards, bad days.

    Listens on the loopback address only, until it is stopped, and keeps its state in memory. Below
    /_sandbox/ a ledger tells what has moved (GET ledger), the clock can be moved forward (POST clock), faults
    can be switched on (POST faults), customers pay without a request of ours (POST payments), and checkout
    sessions are opened and closed (POST checkouts). A person acts at a provider by hand (POST
    dashboard/cancel and others).
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
        click.echo(f"sandbox of {NAMES} at {made.url}, its control API at {made.url}/_sandbox/")
        click.echo(f"set STRIPE_API_BASE={made.url} STRIPE_SECRET_KEY={SECRET_KEY}")
        shop = f"YOOKASSA_SHOP_ID={YOOKASSA_SHOP_ID} YOOKASSA_SECRET_KEY={YOOKASSA_SECRET_KEY}"
        click.echo(f"set YOOKASSA_API_BASE={made.url} {shop}")
        click.echo(f"set PAYSTACK_URL={made.url} PAYSTACK_SECRET_KEY={PAYSTACK_SECRET_KEY}")
        click.echo(f"set FLUTTERWAVE_TOKEN_URL={made.url}{TOKENS}")
        click.echo(f"set BILLING_BASE_URL={made.url} APIKEY={BILLING_KEY}")
        return CODES[signal.Signals(signal.sigwait(CODES))]
