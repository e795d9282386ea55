"""An address to which jobctl adds the path has none of its own; who sets one is told the right one."""

from pathlib import Path

import pytest

from jobctl.errors import Exit
from tests.world import command

BASES = ("STRIPE_API_BASE", "YOOKASSA_API_BASE", "PAYSTACK_URL")
TOKENS = "/realms/flutterwave/protocol/openid-connect/token"


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    """Keep `.env` and the database out of it."""


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("https://api.stripe.com/v1", "https://api.stripe.com"),
        ("https://api.yookassa.ru/v3/", "https://api.yookassa.ru"),
        ("https://api.example.com:8443/a/b/c", "https://api.example.com:8443"),
        ("https://api.example.com/..", "https://api.example.com"),
        ("https://api.example.com/?", "https://api.example.com"),
        ("https://api.example.com?a=b", "https://api.example.com"),
        ("https://api.example.com#a", "https://api.example.com"),
        ("http://127.0.0.1:12111/v1", "http://127.0.0.1:12111"),
        ("https://[2606:4700::1]/v1", "https://[2606:4700::1]"),
    ],
)
def test_a_path_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, given: str, right: str) -> None:
    monkeypatch.setenv(name, given)
    for arguments in (("config",), ("autopayments",)):
        done = command(*arguments)
        assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")
        assert f"{name}: " in done.err
        assert f"set it to {right})" in done.err
    monkeypatch.setenv(name, right)
    assert command("config").exit_code == Exit.DONE


@pytest.mark.parametrize("name", BASES)
def test_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "https://jobctl:horse@api.example.com/v1")
    done = command("config")
    assert done.exit_code == Exit.MISCONFIGURED
    assert "horse" not in done.err


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("base", ["https://api.example.com", "https://api.example.com/"])
def test_a_host_alone_is_taken(monkeypatch: pytest.MonkeyPatch, name: str, base: str) -> None:
    monkeypatch.setenv(name, base)
    shown = {each["setting"]: each["value"] for each in command("config", "--json").document}
    assert shown[name] == "https://api.example.com"


@pytest.mark.parametrize("given", ["https://idp.example.com", "https://idp.example.com/"])
def test_a_token_is_asked_for_at_all_of_an_address(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("FLUTTERWAVE_TOKEN_URL", given)
    done = command("config")
    assert done.exit_code == Exit.MISCONFIGURED
    assert f"set it to https://idp.example.com{TOKENS})" in done.err
    monkeypatch.setenv("FLUTTERWAVE_TOKEN_URL", "https://idp.example.com/token")
    assert command("config").exit_code == Exit.DONE


@pytest.mark.parametrize("path", ["/billing/api/v1/paysession", "/billing/api/v1/", "/billing/api"])
@pytest.mark.parametrize("fit", ["http://billing:4000", "https://gateway.example.com/internal"])
def test_the_billing_service_is_not_named_with_the_path_of_its_sessions(
    monkeypatch: pytest.MonkeyPatch, fit: str, path: str
) -> None:
    monkeypatch.setenv("BILLING_BASE_URL", fit + path)
    done = command("config")
    assert done.exit_code == Exit.MISCONFIGURED
    assert f"set it to {fit})" in done.err
    monkeypatch.setenv("BILLING_BASE_URL", fit)
    assert command("config").exit_code == Exit.DONE
