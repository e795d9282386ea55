"""The settings: one frozen object, read once, every problem reported together.

Each setting declares its parser, default, meaning and example; `jobctl config`, every job's help and
`.env.example` are made from, or checked against, these declarations.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobctl import logs, modes, parsing
from jobctl.errors import MisconfiguredError
from jobctl.parsing import Months, Parser, Percent, Rate, Uncertain

if TYPE_CHECKING:
    from dotenv.parser import Binding

ENV_FILE = ".env"


def setting(
    parse: Parser, default: str | None, what: str, *, group: str, example: str, secret: bool = False
) -> Any:
    """Declare a setting; `default` and `example` are written as in the environment."""
    about = {
        "parse": parse,
        "default": default,
        "what": what,
        "group": group,
        "example": example,
        "secret": secret,
    }
    return field(default=None if default is None else parse(default), metadata=about)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The effective settings; durations are `timedelta`, an unset optional one is None."""

    jobctl_home: Path = setting(
        parsing.folder,
        ".",
        "folder of `.env` and of the embedded database; only the real environment sets it",
        group="database",
        example="/var/lib/jobctl",
    )
    database_url: str | None = setting(
        parsing.database_url,
        None,
        "PostgreSQL to work on, or sqlite:/// and the path of an embedded database; empty: `jobctl.db` in "
        "JOBCTL_HOME",
        group="database",
        example="postgresql://jobctl:secret@db.example.com/market?sslmode=verify-full",
        secret=True,
    )
    database_lock_url: str | None = setting(
        parsing.postgres_url,
        None,
        "the same database past a connection pooler, for locks; empty: DATABASE_URL",
        group="database",
        example="postgresql://jobctl:secret@db-direct.example.com/market",
        secret=True,
    )
    database_schema: str | None = setting(
        parsing.schema,
        None,
        "PostgreSQL schema that has jobctl's tables; empty: the first of the role's search_path",
        group="database",
        example="jobctl",
    )
    jobctl_embedded: str = setting(
        parsing.choice("auto", "never"),
        "auto",
        "`never`: a missing DATABASE_URL is an error, as set in the image",
        group="database",
        example="never",
    )

    log_format: str = setting(
        parsing.choice("text", "json"),
        "text",
        "how log lines look, on stderr",
        group="running",
        example="json",
    )
    stop_grace: timedelta = setting(
        parsing.duration,
        "8s",
        "how long a stopped run waits for what is under way",
        group="running",
        example="20s",
    )

    notification_retry_for: timedelta = setting(
        parsing.duration,
        "2d",
        "how long a message is tried again that fails for a passing reason; outages of its channel aside",
        group="notifications",
        example="12h",
    )
    notification_retry_delay: timedelta = setting(
        parsing.duration,
        "30s",
        "wait after a first failed attempt; doubles with each, up to 1h, with jitter",
        group="notifications",
        example="1m",
    )
    notification_max_attempts: int = setting(
        parsing.whole(1),
        "5",
        "processes that may end while they send a message before that is given up",
        group="notifications",
        example="8",
    )
    notification_concurrency: int = setting(
        parsing.whole(1, 1000),
        "16",
        "messages under way at once",
        group="notifications",
        example="32",
    )
    on_uncertain: Uncertain = setting(
        parsing.uncertain,
        "email=resend,webhook=resend,tray=resend,sms=hold,push=hold",
        "what becomes of a message that may or may not have been handed over: `resend`, or `hold` for a "
        "person; for all channels or by channel",
        group="notifications",
        example="email=hold",
    )
    default_locale: str = setting(
        parsing.locale,
        "en",
        "language of templates where the recipient's is not there",
        group="notifications",
        example="de",
    )
    templates_folder: Path | None = setting(
        parsing.existing_folder,
        None,
        "folder whose templates go before the built-in ones",
        group="notifications",
        example="/etc/jobctl/templates",
    )
    console_folder: Path | None = setting(
        parsing.folder,
        None,
        "folder into which the console channel also writes each message (.eml, .txt)",
        group="notifications",
        example="outbox",
    )
    sms_channel: str | None = setting(
        parsing.choice("console"),
        None,
        "how sms go out; embedded default: console",
        group="notifications",
        example="console",
    )
    push_channel: str | None = setting(
        parsing.choice("console"),
        None,
        "how push messages go out; embedded default: console",
        group="notifications",
        example="console",
    )

    email_channel: str | None = setting(
        parsing.choice("smtp", "console"),
        None,
        "how e-mail goes out; empty: smtp where SMTP_HOST is set, else console on the embedded database",
        group="email",
        example="smtp",
    )
    email_from: str | None = setting(
        parsing.mailbox, None, "sender of e-mail", group="email", example="Marketplace <hello@example.com>"
    )
    email_reply_to: str | None = setting(
        parsing.mailbox,
        None,
        "where replies go; empty: to the sender",
        group="email",
        example="help@example.com",
    )
    email_unsubscribe: str | None = setting(
        parsing.unsubscribe,
        None,
        "List-Unsubscribe link of mail that is not transactional, with {user_id} and {category}; an https: "
        "one must take a POST as well (one-click, RFC 8058); empty: a mailto to EMAIL_FROM",
        group="email",
        example="https://example.com/preferences?user={user_id}&category={category}",
    )
    email_rate_limit: Rate | None = setting(
        parsing.rate, None, "most e-mails in a time, for each run", group="email", example="14/s"
    )
    smtp_host: str | None = setting(
        parsing.host, None, "mail server", group="email", example="smtp.example.com"
    )
    smtp_port: int | None = setting(
        parsing.whole(1, 65535),
        None,
        "its port; empty: 587 for starttls, 465 for implicit, 25 for none",
        group="email",
        example="587",
    )
    smtp_tls: str = setting(
        parsing.choice("starttls", "implicit", "none"),
        "starttls",
        "how the connection is encrypted; certificates are always verified",
        group="email",
        example="implicit",
    )
    smtp_ca_file: Path | None = setting(
        parsing.existing_file,
        None,
        "certificates to trust instead of the system's",
        group="email",
        example="/etc/ssl/private-ca.pem",
    )
    smtp_username: str | None = setting(
        parsing.text, None, "login; empty: none", group="email", example="jobctl"
    )
    smtp_password: str | None = setting(
        parsing.text, None, "password of that login", group="email", example="secret", secret=True
    )
    smtp_timeout: timedelta = setting(
        parsing.duration, "30s", "longest wait for an answer of the mail server", group="email", example="1m"
    )

    webhook_channel: str | None = setting(
        parsing.choice("http", "console"),
        None,
        "how webhooks go out; empty: http where WEBHOOK_SECRET is set, else console on the embedded database",
        group="webhook",
        example="http",
    )
    webhook_secret: bytes | None = setting(
        parsing.webhook_secret,
        None,
        "key that signs webhooks, as the Standard Webhooks specification writes it",
        group="webhook",
        example="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        secret=True,
    )
    webhook_allow_private: bool = setting(
        parsing.boolean,
        "false",
        "allow webhook addresses in private networks",
        group="webhook",
        example="true",
    )
    webhook_rate_limit: Rate | None = setting(
        parsing.rate, None, "most webhooks in a time, for each run", group="webhook", example="50/s"
    )
    webhook_timeout: timedelta = setting(
        parsing.duration, "10s", "longest wait for an answer of a webhook", group="webhook", example="5s"
    )

    stripe_secret_key: str | None = setting(
        parsing.stripe_key,
        None,
        "Stripe's secret key; needed once a payment by Stripe is due",
        group="stripe",
        example="sk_live_secret",
        secret=True,
    )
    stripe_account: str | None = setting(
        parsing.name,
        None,
        "a name for the Stripe account, to be changed together with the account and not with its keys: what "
        "one account was asked is never asked of another; empty: live or test, as the key says",
        group="stripe",
        example="market-eu",
    )
    stripe_api_base: str = setting(
        parsing.api_base,
        "https://api.stripe.com",
        "where Stripe answers, without a path; `jobctl sandbox` prints what to set for tests",
        group="stripe",
        example="http://127.0.0.1:12111",
    )
    stripe_rate_limit: Rate = setting(
        parsing.rate,
        "20/s",
        "most requests to Stripe in a time, for each run",
        group="stripe",
        example="80/s",
    )
    stripe_timeout: timedelta = setting(
        parsing.duration, "60s", "longest wait for an answer of Stripe", group="stripe", example="80s"
    )

    yookassa_shop_id: str | None = setting(
        parsing.shop_id,
        None,
        "number of the shop at YooKassa; needed, with its key, once a payment by YooKassa is due",
        group="yookassa",
        example="100500",
    )
    yookassa_secret_key: str | None = setting(
        parsing.yookassa_key,
        None,
        "secret key of that shop",
        group="yookassa",
        example="live_secret",
        secret=True,
    )
    yookassa_api_base: str = setting(
        parsing.api_base,
        "https://api.yookassa.ru",
        "where YooKassa answers, without a path; `jobctl sandbox` prints what to set for tests",
        group="yookassa",
        example="http://127.0.0.1:12111",
    )
    yookassa_rate_limit: Rate = setting(
        parsing.rate,
        "10/s",
        "most requests to YooKassa in a time, for each run",
        group="yookassa",
        example="50/s",
    )
    yookassa_timeout: timedelta = setting(
        parsing.duration, "60s", "longest wait for an answer of YooKassa", group="yookassa", example="35s"
    )

    paystack_secret_key: str | None = setting(
        parsing.paystack_key,
        None,
        "Paystack's secret key; needed once a payment by Paystack is to be verified",
        group="paystack",
        example="sk_live_secret",
        secret=True,
    )
    paystack_url: str = setting(
        parsing.api_base,
        "https://api.paystack.co",
        "where Paystack answers, without a path; `jobctl sandbox` prints what to set for tests",
        group="paystack",
        example="http://127.0.0.1:12111",
    )
    paystack_rate_limit: Rate = setting(
        parsing.rate,
        "10/s",
        "most requests to Paystack in a time, for each run",
        group="paystack",
        example="50/s",
    )
    paystack_timeout: timedelta = setting(
        parsing.duration, "30s", "longest wait for an answer of Paystack", group="paystack", example="60s"
    )

    flutterwave_token_url: str = setting(
        parsing.token_url,
        "https://idp.flutterwave.com/realms/flutterwave/protocol/openid-connect/token",
        "where Flutterwave's identity server gives tokens; `jobctl sandbox` prints what to set for tests",
        group="flutterwave",
        example="http://127.0.0.1:12111/realms/flutterwave/protocol/openid-connect/token",
    )
    flutterwave_timeout: timedelta = setting(
        parsing.duration,
        "30s",
        "longest wait for an answer of Flutterwave",
        group="flutterwave",
        example="60s",
    )
    token_refresh_margin: timedelta = setting(
        parsing.duration,
        "3m",
        "how long before its end a provider's access token is renewed",
        group="flutterwave",
        example="5m",
    )
    jobctl_secret_key: tuple[str, ...] | None = setting(
        parsing.secret_keys,
        None,
        "Fernet key that encrypts providers' secrets and tokens in the database; several, with commas "
        "between them, while one replaces another: the first encrypts, all decrypt; empty: not encrypted",
        group="flutterwave",
        example="bWFkZS1ieS1qb2JjdGwtY3JlZGVudGlhbHMta2V5LTE=",
        secret=True,
    )

    apikey: str | None = setting(
        parsing.header_value,
        None,
        "key of the billing service; needed once a checkout session is open",
        group="checkout",
        example="your_billing_service_api_key",
        secret=True,
    )
    billing_base_url: str = setting(
        parsing.billing_base,
        "http://localhost:4000",
        "where the billing service answers; http: only within a network that you trust with its key",
        group="checkout",
        example="https://billing.example.com",
    )
    billing_timeout: timedelta = setting(
        parsing.duration,
        "10s",
        "longest wait for an answer of the billing service",
        group="checkout",
        example="5s",
    )
    checkout_concurrency: int = setting(
        parsing.whole(1, 1000),
        "64",
        "requests to the billing service under way at once",
        group="checkout",
        example="128",
    )
    checkout_update_status: bool = setting(
        parsing.boolean,
        "false",
        "whether checkout sessions get the status that the billing service tells",
        group="checkout",
        example="true",
    )
    checkout_status_field: str = setting(
        parsing.field_path,
        "status",
        "field of its answer that tells the status; dots lead into objects",
        group="checkout",
        example="data.status",
    )
    checkout_max_age: timedelta = setting(
        parsing.duration,
        "24h",
        "how long a checkout session may be open before it becomes `timeout`, where its status is updated",
        group="checkout",
        example="2h",
    )

    notification_channels: tuple[str, ...] = setting(
        parsing.channels,
        "email,tray",
        "channels on which jobs tell users something, where they take it by them",
        group="telling",
        example="email,sms,tray",
    )

    session_reminder_leads: tuple[timedelta, ...] = setting(
        parsing.durations,
        "15m",
        "how long before a session its participants are reminded of it; several with commas between",
        group="sessions",
        example="24h,15m",
    )
    session_attendance_grace: timedelta = setting(
        parsing.duration,
        "5m",
        "how long after the end of a session that nobody ended attendance is looked at",
        group="sessions",
        example="10m",
    )

    payment_authorization_window: timedelta = setting(
        parsing.duration,
        "48h",
        "how long before a session its price is held on the card",
        group="payments",
        example="24h",
    )
    no_show_consumer_policy: str = setting(
        parsing.choice("release", "capture"),
        "release",
        "what becomes of the hold for a session that only its customer missed",
        group="payments",
        example="capture",
    )
    unpaid_cancellation_window: timedelta = setting(
        parsing.duration,
        "24h",
        "how long after a failed hold a customer has to give another card",
        group="payments",
        example="12h",
    )
    unpaid_cancellation_lead: timedelta = setting(
        parsing.duration,
        "1h",
        "how long before its start an unpaid session is cancelled at the latest",
        group="payments",
        example="2h",
    )
    payment_concurrency: int = setting(
        parsing.whole(1, 1000),
        "16",
        "requests to payment providers under way at once",
        group="payments",
        example="32",
    )
    payment_allow_mixed_keys: bool = setting(
        parsing.boolean,
        "false",
        "whether test keys, or a token server of this network, may stand beside live keys",
        group="payments",
        example="true",
    )

    subscription_grace: timedelta = setting(
        parsing.duration,
        "3d",
        "how long after its end a subscription is kept while its renewal is not paid",
        group="subscriptions",
        example="7d",
    )
    autopayment_retry_days: tuple[int, ...] = setting(
        parsing.day_numbers,
        "0,1,3",
        "on which days after its end a subscription is charged until that works; 0 is the day itself (UTC)",
        group="subscriptions",
        example="0,2,5",
    )
    payment_pending_max_age: timedelta = setting(
        parsing.duration,
        "7d",
        "how old a pending payment may become",
        group="subscriptions",
        example="14d",
    )

    matching_window: timedelta = setting(
        parsing.duration,
        "1h",
        "how far back payments are listed at their providers at the least",
        group="subscriptions",
        example="6h",
    )
    matching_requires: str = setting(
        parsing.choice("metadata", "installation"),
        "metadata",
        "what marks a payment at a provider as ours that names no installation: `metadata`, any of user_id, "
        "plan_id and payment_provider_id; `installation`, nothing: needed where several share an account",
        group="subscriptions",
        example="installation",
    )

    payment_verify_after: timedelta = setting(
        parsing.duration,
        "24h",
        "how old a pending payment into escrow is when its provider is asked about it",
        group="marketplace",
        example="6h",
    )
    payment_verify_give_up: timedelta = setting(
        parsing.duration,
        "72h",
        "how long a provider may leave that unanswered before a person has to decide",
        group="marketplace",
        example="5d",
    )
    request_payment_timeout: timedelta = setting(
        parsing.duration,
        "48h",
        "how long a request may go unpaid before it is declined",
        group="marketplace",
        example="72h",
    )
    platform_fee_percent: Percent = setting(
        parsing.percent,
        "10",
        "the platform's share of what is released from escrow, where the payment itself names none",
        group="marketplace",
        example="12.5",
    )
    default_wallet_currency: str = setting(
        parsing.currency,
        "USD",
        "currency of the wallet that each verified user gets",
        group="marketplace",
        example="NGN",
    )

    monthly_free_credits: int = setting(
        parsing.whole(0, 1_000_000_000),
        "100",
        "free credits that each verified professional has at the beginning of a month",
        group="credits",
        example="50",
    )
    credit_lifetime: Months = setting(
        parsing.months,
        "6mo",
        "how long after they were bought credits expire that say nothing of it, in calendar months",
        group="credits",
        example="12mo",
    )
    credit_expiry_warning: timedelta = setting(
        parsing.duration,
        "7d",
        "how long before their credits expire professionals are told so",
        group="credits",
        example="14d",
    )

    run_retention: timedelta = setting(
        parsing.duration, "90d", "how long run records are kept", group="retention", example="30d"
    )
    audit_retention: timedelta = setting(
        parsing.duration, "1y", "how long the audit trail is kept", group="retention", example="2y"
    )
    pii_retention: timedelta = setting(
        parsing.duration,
        "30d",
        "how long bodies and addresses of settled notifications are kept",
        group="retention",
        example="14d",
    )

    health_grace: timedelta = setting(
        parsing.duration,
        "15m",
        "how long after its scheduled time a job may still lack its success, to `jobctl health`",
        group="health",
        example="1h",
    )

    health_waiting: tuple[parsing.Limit, ...] = setting(
        parsing.limits,
        "",
        "how long rows may be due, to `jobctl health`: job=duration, with commas between; else until "
        "HEALTH_GRACE after the job's next scheduled time",
        group="health",
        example="notification-sender=5m,payment-cleanup=6h",
    )

    database_file: Path | None = None  # the embedded database that DATABASE_URL names

    @property
    def embedded_path(self) -> Path:
        return self.database_file or self.jobctl_home / "jobctl.db"


# Without these nobody knows which database is meant.
OF_THE_DATABASE = {
    "JOBCTL_HOME",
    "DATABASE_URL",
    "DATABASE_URL_FILE",
    "DATABASE_SCHEMA",
    "JOBCTL_EMBEDDED",
}


class SettingsError(MisconfiguredError):
    """Settings that cannot be used; `rest` has those that can, if the database is among them."""

    def __init__(self, said: str, rest: Settings | None) -> None:
        super().__init__(said)
        self.rest = rest


@dataclass(frozen=True)
class Loaded:
    """The settings, where each came from, and what in them is secret."""

    settings: Settings
    origins: Mapping[str, str]
    secrets: tuple[str, ...]
    strangers: tuple[str, ...]  # names in `.env` that are no setting of ours


def declared() -> tuple[Field[Any], ...]:
    return tuple(each for each in fields(Settings) if each.metadata)


def variable(declaration: Field[Any]) -> str:
    return declaration.name.upper()


def load(environ: Mapping[str, str] | None = None) -> Loaded:
    """Read the environment, then `.env` in JOBCTL_HOME for what the environment leaves empty.

    Raises MisconfiguredError with every problem that there is.
    """
    environ = os.environ if environ is None else environ
    home = Path(environ.get("JOBCTL_HOME") or ".").expanduser()
    problems: list[str] = []
    env_file = read_env_file(home / ENV_FILE, problems)
    reader = _Reader(
        environ, {name: text for name, text in env_file.items() if name != "JOBCTL_HOME"}, home, problems
    )
    values = {each.name: reader.read(each) for each in declared()}
    if isinstance(values["database_url"], Path):
        values |= {"database_url": None, "database_file": values["database_url"]}
    settings = Settings(**values)
    wrong = {each.partition(":")[0] for each in problems}
    problems += [said for names, said in contradictions(settings) if not wrong & names]
    if problems:
        logs.write_as(settings.log_format)
        count = f"{len(problems)} problems" if len(problems) > 1 else "a problem"
        said = f"{count} in the settings:\n" + "\n".join(f"  {each}" for each in problems)
        raise SettingsError(said, None if wrong & OF_THE_DATABASE else settings)
    known = {variable(each) for each in declared()}
    known |= {f"{name}_FILE" for name in known}
    strangers = tuple(name for name in env_file if name not in known or name == "JOBCTL_HOME")
    return Loaded(settings, reader.origins, tuple(reader.secrets), strangers)


def read_env_file(path: Path, problems: list[str]) -> dict[str, str]:
    if not os.path.exists(path):  # noqa: PTH110 (it takes a folder that we may not look into for an empty one)
        return {}
    # Only here: a start without a `.env` doesn't pay for the parser.
    from dotenv.parser import parse_stream  # noqa: PLC0415

    try:
        with path.open(encoding="utf-8") as stream:
            found = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(
            f"{path}: cannot be read ({parsing.reason(error)}); make it a readable UTF-8 text file"
        )
        return {}
    broken = [each for each in found if each.error or lacks_value(each)]
    problems += [f"{path}, line {line_of(each)}: expected NAME=value" for each in broken]
    return {each.key: each.value for each in found if each.key and each.value}


def lacks_value(binding: "Binding") -> bool:
    return binding.key is not None and binding.value is None


def line_of(binding: "Binding") -> int:
    """Return the line of a statement; the parser counts from the blank lines before it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


class _Reader:
    """Finds each setting's text and parses it, noting problems, origins and secrets."""

    def __init__(
        self, environ: Mapping[str, str], env_file: Mapping[str, str], home: Path, problems: list[str]
    ) -> None:
        self.home = home  # what paths in `.env` start from, as cron starts anywhere
        self.sources = (("environment", environ), (ENV_FILE, env_file))
        self.problems = problems
        self.origins: dict[str, str] = {}
        self.secrets: list[str] = []

    def read(self, declaration: Field[Any]) -> Any:
        name, about = variable(declaration), declaration.metadata
        found = self.find(name, from_file=about["secret"])
        if found is None:
            self.origins[name] = "default"
            return declaration.default
        text, self.origins[name] = found
        if self.origins[name] == ENV_FILE and about["parse"] in parsing.PATHS:
            text = str(self.home / Path(text).expanduser())
        if about["secret"]:
            self.secrets += parsing.secret_parts(text)
        try:
            return about["parse"](text)
        except ValueError as expected:
            # What is refused as a URL may be so for the password in it.
            hidden = about["secret"] or ("://" in text and ("@" in text or "?" in text))
            got = "" if hidden else f"; got {text!r}"
            self.problems.append(f"{name}: expected {expected}, for example {about['example']}{got}")
            return declaration.default

    def find(self, name: str, *, from_file: bool) -> tuple[str, str] | None:
        for origin, source in self.sources:
            if source.get(name) and from_file and source.get(f"{name}_FILE"):
                self.problems.append(
                    f"{name}: set both as {name} and as {name}_FILE in the {origin}; leave one"
                )
            if source.get(name):
                return source[name], origin
            if from_file and source.get(f"{name}_FILE"):
                path = Path(source[f"{name}_FILE"])
                return self.find_in_file(name, self.home / path if origin == ENV_FILE else path)
        return None

    def find_in_file(self, name: str, path: Path) -> tuple[str, str] | None:
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{name}_FILE: {path} cannot be read ({parsing.reason(error)})")
            return None
        if not text:
            self.problems.append(f"{name}_FILE: {path} is empty")
            return None
        return text, str(path)


def contradictions(settings: Settings) -> Iterable[tuple[set[str], str]]:
    """Tell which settings are right by themselves and wrong together: their names, and what is wrong."""
    if settings.smtp_host and not settings.email_from:
        names = {"EMAIL_FROM", "SMTP_HOST"}
        yield names, "EMAIL_FROM: needed with SMTP_HOST, for example Marketplace <hello@example.com>"
    if settings.email_channel == "smtp" and not settings.smtp_host:
        names = {"SMTP_HOST", "EMAIL_CHANNEL"}
        yield names, "SMTP_HOST: needed with EMAIL_CHANNEL=smtp, for example smtp.example.com"
    if bool(settings.smtp_username) != bool(settings.smtp_password):
        names = {"SMTP_USERNAME", "SMTP_PASSWORD", "SMTP_PASSWORD_FILE"}
        yield names, "SMTP_USERNAME and SMTP_PASSWORD: set both, or neither"
    if settings.webhook_channel == "http" and not settings.webhook_secret:
        names = {"WEBHOOK_SECRET", "WEBHOOK_SECRET_FILE", "WEBHOOK_CHANNEL"}
        yield names, "WEBHOOK_SECRET: needed with WEBHOOK_CHANNEL=http, so that receivers can verify"
    if settings.database_lock_url and not settings.database_url:
        names = {"DATABASE_LOCK_URL", "DATABASE_URL", "DATABASE_URL_FILE"}
        yield names, "DATABASE_LOCK_URL: goes with DATABASE_URL, which is not set"
    if settings.database_schema and not settings.database_url:
        names = {"DATABASE_SCHEMA", "DATABASE_URL", "DATABASE_URL_FILE"}
        yield names, "DATABASE_SCHEMA: goes with a PostgreSQL DATABASE_URL, which is not set"
    yield from modes.contradictions(settings)
