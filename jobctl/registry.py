"""JOBS, the one explicit list: help, crontab and README are derived from it or checked against it."""

from typing import NamedTuple


class Entry(NamedTuple):
    """A job as everything but its own file sees it."""

    name: str
    module: str
    cron: str  # when cron or a CronJob starts it
    every: str | None  # how often it repeats within that start, for schedules under a minute
    summary: str
    reads: tuple[str, ...]  # settings, and groups of them


JOBS = (
    Entry(
        "notification-sender",
        "jobctl.jobs.notifications.notification_sender",
        "* * * * *",
        "10s",
        "Send the notifications that the application and other jobs have queued.",
        ("notifications", "email", "webhook"),
    ),
    Entry(
        "upcoming-session-reminder",
        "jobctl.jobs.sessions.upcoming_session_reminder",
        "* * * * *",
        None,
        "Remind the participants of sessions that are about to start.",
        ("session_reminder_leads", "telling"),
    ),
    Entry(
        "session-attendance-analyzer",
        "jobctl.jobs.sessions.session_attendance_analyzer",
        "* * * * *",
        None,
        "Find out who came to the sessions that are over.",
        ("session_attendance_grace", "telling"),
    ),
    Entry(
        "session-payment-authorizer",
        "jobctl.jobs.sessions.session_payment_authorizer",
        "7 * * * *",
        None,
        "Hold the price of coming sessions on the customer's card.",
        (
            "payment_authorization_window",
            "payment_concurrency",
            "unpaid_cancellation_window",
            "unpaid_cancellation_lead",
            "payment_allow_mixed_keys",
            "stripe",
            "yookassa",
            "telling",
        ),
    ),
    Entry(
        "session-payment-processor",
        "jobctl.jobs.sessions.session_payment_processor",
        "*/30 * * * *",
        None,
        "Take the money for sessions that took place, and release the holds of the others.",
        (
            "no_show_consumer_policy",
            "payment_concurrency",
            "payment_allow_mixed_keys",
            "stripe",
            "yookassa",
            "telling",
        ),
    ),
    Entry(
        "unpaid-session-canceller",
        "jobctl.jobs.sessions.unpaid_session_canceller",
        "37 * * * *",
        None,
        "Cancel sessions whose price could not be held on the customer's card.",
        (
            "unpaid_cancellation_window",
            "unpaid_cancellation_lead",
            "payment_allow_mixed_keys",
            "stripe",
            "yookassa",
            "telling",
        ),
    ),
    Entry(
        "settle-operations",
        "jobctl.jobs.sessions.settle_operations",
        "*/5 * * * *",
        None,
        "Ask providers what became of unfinished money operations, and settle them.",
        ("payments", "stripe", "yookassa", "paystack", "telling"),
    ),
    Entry(
        "checkout-session-monitor",
        "jobctl.jobs.checkout.checkout_session_monitor",
        "* * * * *",
        "5s",
        "Ask the billing service about every open checkout session.",
        ("checkout",),
    ),
    Entry(
        "autopayments",
        "jobctl.jobs.subscriptions.autopayments",
        "15 3 * * *",
        None,
        "Charge subscriptions for their next period.",
        (
            "autopayment_retry_days",
            "subscription_grace",
            "payment_concurrency",
            "payment_allow_mixed_keys",
            "stripe",
            "yookassa",
            "telling",
        ),
    ),
    Entry(
        "expire-subscriptions",
        "jobctl.jobs.subscriptions.expire_subscriptions",
        "25 4 * * *",
        None,
        "Expire subscriptions whose grace period has run out.",
        ("subscription_grace", "autopayment_retry_days", "telling"),
    ),
    Entry(
        "expire-payments",
        "jobctl.jobs.subscriptions.expire_payments",
        "35 4 * * *",
        None,
        "Expire payments that were begun long ago and never came to anything.",
        ("payment_pending_max_age",),
    ),
    Entry(
        "matching-pending-payments",
        "jobctl.jobs.subscriptions.matching_pending_payments",
        "*/2 * * * *",
        None,
        "Find out what became of pending payments, and apply those that succeeded.",
        (
            "matching_window",
            "payment_concurrency",
            "subscription_grace",
            "autopayment_retry_days",
            "payment_allow_mixed_keys",
            "stripe",
            "yookassa",
            "telling",
        ),
    ),
    Entry(
        "matching-successful-payments",
        "jobctl.jobs.subscriptions.matching_successful_payments",
        "*/2 * * * *",
        None,
        "Record payments that succeeded at a provider and never reached us.",
        (
            "matching_window",
            "matching_requires",
            "payment_pending_max_age",
            "payment_concurrency",
            "subscription_grace",
            "autopayment_retry_days",
            "payment_allow_mixed_keys",
            "stripe",
            "yookassa",
        ),
    ),
    Entry(
        "payment-cleanup",
        "jobctl.jobs.marketplace.payment_cleanup",
        "10 * * * *",
        None,
        "Find out what became of pending payments into escrow, and decline requests that nobody pays.",
        (
            "payment_verify_after",
            "request_payment_timeout",
            "payment_verify_give_up",
            "payment_concurrency",
            "payment_allow_mixed_keys",
            "paystack",
            "telling",
        ),
    ),
    Entry(
        "escrow-release",
        "jobctl.jobs.marketplace.escrow_release",
        "20 */2 * * *",
        None,
        "Release escrow to creators' wallets once their work is completed, less the platform's fee.",
        ("platform_fee_percent",),
    ),
    Entry(
        "wallet-creation",
        "jobctl.jobs.marketplace.wallet_creation",
        "0 10 * * *",
        None,
        "Give verified users the wallets that they lack.",
        ("default_wallet_currency",),
    ),
    Entry(
        "flutterwave-key-update",
        "jobctl.jobs.marketplace.flutterwave_key_update",
        "* * * * *",
        None,
        "Renew Flutterwave's access tokens before they expire.",
        ("flutterwave", "payment_concurrency", "payment_allow_mixed_keys"),
    ),
    Entry(
        "monthly-credits-reset",
        "jobctl.jobs.credits.monthly_credits_reset",
        "1 0 * * *",
        None,
        "Give verified professionals their free credits of the month.",
        ("monthly_free_credits", "telling"),
    ),
    Entry(
        "credit-expiry",
        "jobctl.jobs.credits.credit_expiry",
        "0 2 * * *",
        None,
        "Expire credits that were bought too long ago.",
        ("credit_lifetime",),
    ),
    Entry(
        "credit-expiry-warning",
        "jobctl.jobs.credits.credit_expiry_warning",
        "30 8 * * *",
        None,
        "Tell professionals of credits that are about to expire.",
        ("credit_lifetime", "credit_expiry_warning", "telling"),
    ),
    Entry(
        "history-prune",
        "jobctl.jobs.notifications.history_prune",
        "17 3 * * *",
        None,
        "Keep run records, audit trail and personal data within their retention.",
        ("retention",),
    ),
)

# Operator commands: name, "module:function", one line. Nouns, then verbs.
COMMANDS = (
    ("db", "jobctl.commands.db:db", "Create, upgrade and check the database."),
    ("jobs", "jobctl.commands.jobs:jobs", "List every job with its schedule, last run and waiting rows."),
    ("health", "jobctl.commands.health:health", "Tell whether the jobs succeed on schedule, for a probe."),
    ("runs", "jobctl.commands.runs:runs_group", "Look at past runs: counts, changed rows, errors."),
    ("why", "jobctl.commands.why:why", "Explain why a row is, or is not, due for a job."),
    (
        "notifications",
        "jobctl.commands.notifications:notifications",
        "List notifications and queue failed ones again.",
    ),
    (
        "findings",
        "jobctl.commands.findings:findings",
        "Look at what jobs found and may not decide, and resolve it.",
    ),
    (
        "credentials",
        "jobctl.commands.credentials:credentials",
        "Keep what providers' access tokens are asked for with, encrypted.",
    ),
    ("operations", "jobctl.commands.operations:operations", "List what was asked of payment providers."),
    (
        "invariants",
        "jobctl.commands.invariants:invariants",
        "Check what is always true of the database, row by row.",
    ),
    ("config", "jobctl.commands.config:config", "Show the effective settings and where each comes from."),
    ("demo", "jobctl.commands.demo:demo", "See the jobs at work on a small made-up marketplace."),
    ("sandbox", "jobctl.commands.sandbox:sandbox", "Imitate a payment provider, and its bad days."),
)

# Commands that leave run records as jobs do.
RECORDED = ("notifications retry", "findings resolve", "credentials add", "credentials rotate")


def entry(name: str) -> Entry:
    return next(each for each in JOBS if each.name == name)


def check_names() -> None:
    """Fail at import, not in production, on a job that hides a command or another job."""
    names = [each.name for each in JOBS] + [name for name, _, _ in COMMANDS]
    doubles = {name for name in names if names.count(name) > 1}
    if doubles:
        raise ImportError(f"named twice in the registry: {', '.join(sorted(doubles))}")


check_names()
