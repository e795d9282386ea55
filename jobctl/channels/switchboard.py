"""Which channel goes out by which transport, opened when its first message comes."""

import threading
from types import TracebackType
from typing import Self

from jobctl.channels.protocol import Answer, Channel, Message
from jobctl.errors import Exit, MisconfiguredError
from jobctl.job import At, Means, ScopeDownError
from jobctl.settings import Settings

NEEDED = {
    "email": "set SMTP_HOST and EMAIL_FROM, or EMAIL_CHANNEL=console to print instead of sending",
    "webhook": "set WEBHOOK_SECRET, or WEBHOOK_CHANNEL=console to print instead of sending",
    "sms": "no sms service can be configured yet; SMS_CHANNEL=console prints instead of sending",
    "push": "no push service can be configured yet; PUSH_CHANNEL=console prints instead of sending",
}


def transport(settings: Settings, channel: str) -> str | None:
    """Name what carries a channel's messages; None where nothing is configured.

    Only the embedded database falls back to the console: nobody's mail ends, marked sent, in a log.
    """
    if channel == "tray":
        return "tray"  # which needs nothing outside
    chosen: str | None = getattr(settings, f"{channel}_channel")
    if chosen is None and channel == "email" and settings.smtp_host:
        chosen = "smtp"
    if chosen is None and channel == "webhook" and settings.webhook_secret:
        chosen = "http"
    return chosen or (None if settings.database_url else "console")


def refuse_unconfigured(settings: Settings, channel: str) -> None:
    """Raise ScopeDownError (exit 78) for a channel that cannot send."""
    if transport(settings, channel) is None:
        raise ScopeDownError(channel, f"it is not configured; {NEEDED[channel]}", Exit.MISCONFIGURED)


def flaw(message: Message) -> str | None:
    """Say what is wrong with a message whatever its channel would answer, None where nothing is."""
    try:
        if message.channel == "email":
            from jobctl.channels import mime  # noqa: PLC0415 (only for e-mail)

            mime.check(message)
        elif message.channel == "webhook":
            from jobctl.channels import webhook  # noqa: PLC0415 (only for webhooks)

            webhook.check(message)
    except ValueError as error:
        return str(error)
    return None


def scopes_of(message: Message) -> tuple[str, ...]:
    """Name what a message needs to be up: its channel; of webhooks the server, and the endpoint there."""
    if message.channel != "webhook":
        return (message.channel,)
    from jobctl.channels.webhook import endpoint_scope, scope  # noqa: PLC0415 (only for webhooks)

    return (scope(message.address), endpoint_scope(message.address))


class Switchboard:
    """The channels of one run; a context manager that closes what was opened."""

    def __init__(self, at: At, means: Means) -> None:
        self.at, self.means = at, means
        self.opened: dict[str, Channel] = {}
        self.opening = threading.Lock()

    def send(self, message: Message) -> Answer:
        return self.channel(message.channel).send(message)

    def channel(self, name: str) -> Channel:
        with self.opening:
            if name not in self.opened:
                try:
                    self.opened[name] = self.open(name)
                except MisconfiguredError as error:
                    raise ScopeDownError(name, str(error), error.exit_code) from error
            return self.opened[name]

    def open(self, name: str) -> Channel:
        settings = self.at.settings
        match transport(settings, name):
            case "smtp":
                from jobctl.channels.email import Email  # noqa: PLC0415 (each channel loads its own)

                return Email(settings)
            case "http":
                from jobctl.channels.webhook import Webhook  # noqa: PLC0415 (the same)

                return Webhook(settings, self.means.concurrency)
        from jobctl.channels.console import Console  # noqa: PLC0415 (the same)

        return Console(settings, self.means.out)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self.opened.values():
            each.close()
