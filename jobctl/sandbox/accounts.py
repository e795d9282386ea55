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
