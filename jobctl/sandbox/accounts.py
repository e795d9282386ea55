"""The accounts that the sandbox's own words name. These keys open nothing; any other test key will do too."""

SECRET_KEY = "sk_test_sandbox"  # noqa: S105
FORBIDDEN_KEY = "sk_test_forbidden"
YOOKASSA_SHOP_ID = "100500"
YOOKASSA_SECRET_KEY = "test_sandbox"  # noqa: S105
YOOKASSA_FORBIDDEN_KEY = "test_forbidden"
PAYSTACK_SECRET_KEY = "sk_test_sandbox"  # noqa: S105
PAYSTACK_FORBIDDEN_KEY = "sk_test_forbidden"
FLUTTERWAVE_CLIENT_ID = "sandbox"
FLUTTERWAVE_CLIENT_SECRET = "test_sandbox"  # noqa: S105
FLUTTERWAVE_FORBIDDEN_SECRET = "test_forbidden"  # noqa: S105
BILLING_KEY = "test_sandbox"
BILLING_FORBIDDEN_KEY = "test_forbidden"

# Somebody else's, or our other integration's: what one has, the others don't know.
OTHER_SECRET_KEY = "sk_test_elsewhere"  # noqa: S105
OTHER_YOOKASSA_SHOP_ID = "200600"
OTHER_YOOKASSA_SECRET_KEY = "test_elsewhere"  # noqa: S105
OTHER_PAYSTACK_SECRET_KEY = "sk_test_elsewhere"  # noqa: S105
OTHER_BILLING_KEY = "test_elsewhere"

# By provider, as `account` names them: our own, and another one.
ACCOUNTS = {
    "stripe": {"own": SECRET_KEY, "other": OTHER_SECRET_KEY},
    "yookassa": {
        "own": f"{YOOKASSA_SHOP_ID}:{YOOKASSA_SECRET_KEY}",
        "other": f"{OTHER_YOOKASSA_SHOP_ID}:{OTHER_YOOKASSA_SECRET_KEY}",
    },
    "paystack": {"own": PAYSTACK_SECRET_KEY, "other": OTHER_PAYSTACK_SECRET_KEY},
    "billing": {"own": BILLING_KEY, "other": OTHER_BILLING_KEY},
}
