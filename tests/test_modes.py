"""Real money goes to its provider alone, and play money stays apart from it."""

from pathlib import Path

import pytest

from jobctl.errors import Exit
from jobctl.sandbox import PAYSTACK_SECRET_KEY, SECRET_KEY, YOOKASSA_SECRET_KEY, YOOKASSA_SHOP_ID
from tests.world import Done, command

LOCAL = "http://127.0.0.1:12111"
LIVE = {
    "STRIPE_SECRET_KEY": "sk_live_modes",
    "YOOKASSA_SECRET_KEY": "live_modes",
    "PAYSTACK_SECRET_KEY": "sk_live_modes",
}
TEST = {
    "STRIPE_SECRET_KEY": SECRET_KEY,
    "YOOKASSA_SECRET_KEY": YOOKASSA_SECRET_KEY,
    "PAYSTACK_SECRET_KEY": PAYSTACK_SECRET_KEY,
}
BASES = {
    "STRIPE_SECRET_KEY": "STRIPE_API_BASE",
    "YOOKASSA_SECRET_KEY": "YOOKASSA_API_BASE",
    "PAYSTACK_SECRET_KEY": "PAYSTACK_URL",
}
KEY = pytest.mark.parametrize("key", LIVE)
ALLOW = {"PAYMENT_ALLOW_MIXED_KEYS": "true"}


def with_settings(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], *arguments: str) -> Done:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return command(*arguments or ("config", "--json"))


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    """Keep `.env` and the database out of it."""


@KEY
@pytest.mark.parametrize(
    "base",
    [
        LOCAL,
        "http://localhost:1",
        "https://localhost",
        "https://LOCALHOST.:1",
        "https://stripe-mock",
        "https://pay.internal",
        "https://127.0.0.1",
        "https://127.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://10.0.0.5",
        "https://192.168.1.1:8443",
        "https://169.254.169.254",
        "https://[::1]",
        "https://[fd00::1]",
        "https://[::ffff:10.0.0.1]",
    ],
)
def test_a_live_key_is_not_sent_to_somebody_near(
    monkeypatch: pytest.MonkeyPatch, key: str, base: str
) -> None:
    done = with_settings(monkeypatch, {key: LIVE[key], BASES[key]: base})
    assert done.exit_code == Exit.MISCONFIGURED
    assert key in done.err
    assert BASES[key] in done.err
    # Nothing allows that.
    assert with_settings(monkeypatch, ALLOW).exit_code == Exit.MISCONFIGURED


@KEY
@pytest.mark.parametrize(
    "base", ["", "https://api.example.com", "https://8.8.8.8:8443", "https://[2606:4700::1]"]
)
def test_it_is_sent_anywhere_else(monkeypatch: pytest.MonkeyPatch, key: str, base: str) -> None:
    assert with_settings(monkeypatch, {key: LIVE[key], BASES[key]: base}).exit_code == Exit.DONE


def test_a_key_in_a_file_is_looked_at_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk_live_modes\n")
    given = {"STRIPE_SECRET_KEY_FILE": str(tmp_path / "key"), "STRIPE_API_BASE": LOCAL}
    assert with_settings(monkeypatch, given).exit_code == Exit.MISCONFIGURED


def test_no_job_begins_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"STRIPE_SECRET_KEY": "sk_live_modes", "STRIPE_API_BASE": LOCAL}
    done = with_settings(monkeypatch, given, "session-payment-authorizer")
    assert (done.exit_code, done.out) == (Exit.MISCONFIGURED, "")


@KEY
@pytest.mark.parametrize("other", LIVE)
def test_test_keys_stand_beside_live_ones_only_if_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, key: str, other: str
) -> None:
    given = LIVE | {other: TEST[other]} if key == other else {key: LIVE[key], other: TEST[other]}
    done = with_settings(monkeypatch, given)
    assert done.exit_code == Exit.MISCONFIGURED
    assert other in done.err
    assert with_settings(monkeypatch, ALLOW).exit_code == Exit.DONE


def test_a_token_server_near_is_none_for_live_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"STRIPE_SECRET_KEY": "sk_live_modes", "FLUTTERWAVE_TOKEN_URL": f"{LOCAL}/realms/token"}
    done = with_settings(monkeypatch, given)
    assert done.exit_code == Exit.MISCONFIGURED
    assert "FLUTTERWAVE_TOKEN_URL" in done.err
    assert with_settings(monkeypatch, ALLOW).exit_code == Exit.DONE


@pytest.mark.parametrize("keys", [TEST, {}], ids=["test", "none"])
def test_play_money_may_go_anywhere(monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]) -> None:
    near = dict.fromkeys(BASES.values(), LOCAL) | {"FLUTTERWAVE_TOKEN_URL": f"{LOCAL}/realms/token"}
    shop = {"YOOKASSA_SHOP_ID": YOOKASSA_SHOP_ID}
    assert with_settings(monkeypatch, keys | near | shop).exit_code == Exit.DONE
    for name in near:
        monkeypatch.delenv(name)
    assert with_settings(monkeypatch, {}).exit_code == Exit.DONE
