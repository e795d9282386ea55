"""Which tokens are renewed, and what becomes of secrets."""

import logging
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobctl import sealing
from jobctl.errors import Exit
from jobctl.providers.tokens import Ask, Token
from jobctl.sandbox import FLUTTERWAVE_CLIENT_ID, FLUTTERWAVE_CLIENT_SECRET
from jobctl.tables.marketplace import provider_credentials
from tests.bazaar import TOKENS, Bazaar
from tests.world import NOW, ago, ahead

JOB = "flutterwave-key-update"
KEY, OTHER = (sealing.new_key(),), (sealing.new_key(),)


def credential(bazaar: Bazaar, **values: Any) -> int:
    given = {
        "provider": "flutterwave",
        "name": f"client {len(bazaar.world.rows(provider_credentials))}",
        "client_id": FLUTTERWAVE_CLIENT_ID,
        "client_secret": FLUTTERWAVE_CLIENT_SECRET,
        "updated_at": ago(days=2),
        "created_at": ago(days=3),
    }
    return bazaar.world.add(provider_credentials, given | values)


def kept(bazaar: Bazaar, number: int) -> Any:
    return bazaar.world.one(provider_credentials, number)


def test_a_missing_token_is_asked_for(bazaar: Bazaar) -> None:
    made = credential(bazaar)
    done = bazaar.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.DONE, {"renewed": 1})
    row = kept(bazaar, made)
    assert len(row.access_token) > 20
    assert timedelta(minutes=9, seconds=50) < row.token_expires_at - NOW <= timedelta(minutes=10, seconds=5)
    assert row.token_expires_at - row.token_at <= timedelta(minutes=10)
    assert bazaar.run(JOB).counts == {}


@pytest.mark.parametrize(
    ("ends", "renewed"),
    [(ahead(minutes=3), True), (ahead(minutes=3, seconds=1), False), (ago(hours=1), True)],
)
def test_one_that_ends_soon_is_renewed(bazaar: Bazaar, ends: Any, *, renewed: bool) -> None:
    made = credential(bazaar, access_token="old", token_expires_at=ends)
    assert bazaar.run(JOB).counts == ({"renewed": 1} if renewed else {})
    assert (kept(bazaar, made).access_token != "old") == renewed


@pytest.mark.parametrize("fact", [{"active": False}, {"refused_at": ago(minutes=59)}], ids=str)
def test_another_is_not(bazaar: Bazaar, fact: dict[str, Any]) -> None:
    credential(bazaar, **fact)
    assert bazaar.run(JOB).counts == {}


@pytest.mark.parametrize(
    "fact",
    [{"refused_at": ago(minutes=61)}, {"refused_at": ago(minutes=5), "updated_at": ago(minutes=1)}],
    ids=str,
)
def test_after_a_refusal_it_is_tried_again_in_time_or_when_it_has_changed(
    bazaar: Bazaar, fact: dict[str, Any]
) -> None:
    made = credential(bazaar, **fact)
    assert bazaar.run(JOB).counts == {"renewed": 1}
    assert kept(bazaar, made).refused_at is None


def test_a_refusal_keeps_the_old_token_and_needs_someone(bazaar: Bazaar) -> None:
    made = credential(bazaar, client_secret="wrong", access_token="old", token_expires_at=ahead(minutes=2))
    done = bazaar.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"refused": 1})
    assert (kept(bazaar, made).access_token, len(bazaar.world.errors())) == ("old", 1)
    bazaar.pass_time(minutes=1)
    assert bazaar.run(JOB).counts == {}
    assert bazaar.sandbox.requests()["token"]["requests"] == 1


@pytest.mark.parametrize(
    ("fault", "exit_code"),
    [
        ("dropped", Exit.UNREACHABLE),
        ("http_429", Exit.UNREACHABLE),
        ("http_403", Exit.UNREACHABLE),  # as its gateway answers who asks too often
        ("http_500_before", Exit.UNREACHABLE),
        ("garbage", Exit.ITEMS_FAILED),
        ("empty", Exit.ITEMS_FAILED),
    ],
)
def test_trouble_keeps_the_old_token_for_the_next_run(bazaar: Bazaar, fault: str, exit_code: Exit) -> None:
    made = credential(bazaar, access_token="old", token_expires_at=ahead(minutes=2))
    bazaar.sandbox.fault(fault, "token")
    done = bazaar.run(JOB)
    assert done.exit_code == exit_code
    said = [done.err, *(each.error for each in bazaar.world.errors())]
    assert not any("None" in each for each in said)  # of an answer that there was not
    assert kept(bazaar, made).access_token == "old"
    bazaar.pass_time(minutes=1)
    assert bazaar.run(JOB).counts == {"renewed": 1}


@pytest.mark.parametrize("ends", [None, ago(minutes=1), NOW])
def test_where_no_token_is_good_that_is_told(bazaar: Bazaar, ends: datetime | None) -> None:
    credential(bazaar, access_token=ends and "old", token_expires_at=ends)
    bazaar.sandbox.fault("garbage", "token")
    assert bazaar.run(JOB).exit_code == Exit.ITEMS_FAILED
    (error,) = bazaar.world.errors()
    assert "there is none now" in error.error


def test_a_token_that_cannot_be_stored_needs_someone(bazaar: Bazaar) -> None:
    """It was had, and is of no use; the old one is kept, and every run tells so until it can be."""
    bad, good = credential(bazaar), credential(bazaar)
    bazaar.world.forbid(provider_credentials, f"NEW.id = {bad} AND NEW.access_token IS NOT NULL")
    for counts in ({"renewed": 1, "failed": 1}, {"failed": 1}):
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, counts)
        assert bazaar.world.failed(done) == [bad]
    assert kept(bazaar, good).access_token
    assert (kept(bazaar, bad).access_token, kept(bazaar, bad).claimed_by) == (None, None)


def test_one_that_cannot_be_claimed_keeps_no_other(bazaar: Bazaar) -> None:
    bad, good = credential(bazaar), credential(bazaar)
    bazaar.world.refuse(provider_credentials, "id", bad)
    done = bazaar.run(JOB)
    assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"renewed": 1, "failed": 1})
    assert bazaar.world.failed(done) == [bad]
    assert kept(bazaar, good).access_token


class TestSecrets:
    def test_with_a_key_they_are_encrypted(self, bazaar: Bazaar) -> None:
        bazaar.world.configure(jobctl_secret_key=KEY)
        made = credential(bazaar, client_secret=sealing.seal(KEY, FLUTTERWAVE_CLIENT_SECRET))
        assert bazaar.run(JOB).counts == {"renewed": 1}
        row = kept(bazaar, made)
        assert row.access_token.startswith("fernet:")
        assert len(sealing.unseal(KEY, row.access_token)) > 20

    def test_while_a_key_is_replaced_both_open_and_the_first_seals(self, bazaar: Bazaar) -> None:
        bazaar.world.configure(jobctl_secret_key=OTHER + KEY)
        made = credential(bazaar, client_secret=sealing.seal(KEY, FLUTTERWAVE_CLIENT_SECRET))
        assert bazaar.run(JOB).counts == {"renewed": 1}
        assert sealing.unseal(OTHER, kept(bazaar, made).access_token)

    def test_what_has_them_in_hand_does_not_show_them(self) -> None:
        """As a log, or an error that names what it is about, would."""
        shown = repr([Ask("client", "a-secret", NOW), Token("a-secret", NOW)])
        assert ("client" in shown, "a-secret" in shown) == (True, False)

    @pytest.mark.parametrize("keys", [None, OTHER], ids=["none", "another"])
    def test_what_no_key_opens_needs_someone(self, bazaar: Bazaar, keys: tuple[str, ...] | None) -> None:
        bazaar.world.configure(jobctl_secret_key=keys)
        credential(bazaar, client_secret=sealing.seal(KEY, FLUTTERWAVE_CLIENT_SECRET))
        credential(bazaar)
        done = bazaar.run(JOB)
        assert (done.exit_code, done.counts) == (Exit.ITEMS_FAILED, {"failed": 1, "renewed": 1})

    @pytest.mark.parametrize("options", [{}, {"dry_run": True}], ids=str)
    def test_nobody_gets_to_see_them(
        self, bazaar: Bazaar, options: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        made = credential(bazaar)
        wrong = credential(bazaar, client_secret="test-of-a-secret")
        done = bazaar.run(JOB, verbosity=2, **options)
        kept_elsewhere = {
            name: rows for name, rows in bazaar.world.everything().items() if name != "provider_credentials"
        }
        said = f"{done.out}{done.err}{caplog.text}{kept_elsewhere}"
        assert kept(bazaar, wrong).client_secret == "test-of-a-secret"
        for secret in (FLUTTERWAVE_CLIENT_SECRET, "test-of-a-secret", kept(bazaar, made).access_token):
            assert secret is None or secret not in said


def test_a_dry_run_asks_nobody(bazaar: Bazaar) -> None:
    credential(bazaar)
    before = bazaar.world.everything()
    (shown,) = bazaar.run(JOB, dry_run=True).document["rows"]
    assert shown["request"]["client_id"] == FLUTTERWAVE_CLIENT_ID
    assert (bazaar.world.everything(), bazaar.sandbox.requests()) == (before, {})


def test_since_bounds_when_they_changed(bazaar: Bazaar) -> None:
    credential(bazaar)
    assert bazaar.run(JOB, since=ago(days=1)).counts == {}
    assert bazaar.run(JOB, since=ago(days=3)).counts == {"renewed": 1}


def test_two_runs_at_once_ask_for_one_token_once(bazaar: Bazaar) -> None:
    """Real processes that share the work, while the server takes its time."""
    made = [credential(bazaar) for _ in range(8)]
    url = f"{bazaar.sandbox.url}{TOKENS}"
    bazaar.sandbox.fault("delay", "token", times=8, seconds=0.3)
    runs = [bazaar.world.process(JOB, "--share", "--json", FLUTTERWAVE_TOKEN_URL=url) for _ in range(2)]
    for each in runs:
        each.communicate(timeout=60)
    assert [each.returncode for each in runs] == [0, 0]
    assert bazaar.sandbox.requests()["token"]["requests"] == len(made)
    assert all(kept(bazaar, each).access_token for each in made)
