"""What a provider may cost a run: in memory, in requests while it asks for a pause, in an outage."""

import tracemalloc
from typing import Any

import pytest

from jobctl.errors import Exit
from jobctl.receiving import MOST
from jobctl.sandbox import FLUTTERWAVE_CLIENT_ID, FLUTTERWAVE_CLIENT_SECRET
from jobctl.tables.marketplace import provider_credentials
from tests.bazaar import Bazaar
from tests.payments import PROCESSOR, Market
from tests.subscribers import Club
from tests.world import ago, ahead

BOTH = pytest.mark.parametrize("provider", ["stripe", "yookassa"])
AUTOPAYMENTS, CLEANUP, TOKENS = "autopayments", "payment-cleanup", "flutterwave-key-update"
PENDING, SUCCESSFUL = "matching-pending-payments", "matching-successful-payments"
UNDER_WAY = 16  # calls at once, as the settings have it


def credential(bazaar: Bazaar, **values: Any) -> int:
    given = {"provider": "flutterwave", "name": f"{len(bazaar.world.rows(provider_credentials))}"}
    given |= {"client_id": FLUTTERWAVE_CLIENT_ID, "client_secret": FLUTTERWAVE_CLIENT_SECRET}
    return bazaar.world.add(
        provider_credentials, given | {"updated_at": ago(days=2), "created_at": ago(days=3)} | values
    )


def pending(bazaar: Bazaar) -> int:
    made = bazaar.transaction(bazaar.request(created_at=ago(hours=25)))
    bazaar.at_paystack(made, "success")
    return made


class TestMemory:
    """200 KB that unpack to 200 MB are cut at the bound, wherever they come."""

    @pytest.fixture(autouse=True)
    def _bounded(self) -> Any:
        tracemalloc.start()
        yield
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5 * MOST

    @BOTH
    def test_of_a_capture(self, market: Market, provider: str) -> None:
        market.provider = provider
        market.held(market.past_session())
        market.sandbox.fault("gzip_bomb", "capture")
        assert market.run(PROCESSOR).exit_code == Exit.UNKNOWN_OUTCOME

    @pytest.mark.parametrize("job", [PENDING, SUCCESSFUL])
    def test_of_a_list(self, club: Club, job: str) -> None:
        club.pay(club.buyer())
        club.sandbox.fault("gzip_bomb", "list", times=9)
        assert club.run(job).exit_code == Exit.UNREACHABLE

    def test_of_a_verification(self, bazaar: Bazaar) -> None:
        made = pending(bazaar)
        bazaar.sandbox.fault("gzip_bomb", "retrieve")
        bazaar.run(CLEANUP)
        assert bazaar.moved(made).status == "pending"

    def test_of_a_token(self, bazaar: Bazaar) -> None:
        made = credential(bazaar, access_token="old", token_expires_at=ahead(minutes=2))
        bazaar.sandbox.fault("gzip_bomb", "token")
        assert bazaar.run(TOKENS).exit_code != Exit.DONE
        assert bazaar.world.one(provider_credentials, made).access_token == "old"


@pytest.mark.parametrize("fault", ["http_429", "http_500_before"])
class TestRequests:
    """A pause holds for all, and as many failures as calls are under way are enough; the run says 69."""

    def test_of_renewals(self, club: Club, fault: str) -> None:
        for _ in range(40):
            club.member()
        club.sandbox.fault(fault, times=1000, seconds=60)
        assert club.run(AUTOPAYMENTS).exit_code == Exit.UNREACHABLE
        assert club.sandbox.requests()["charge"]["requests"] < 2 * UNDER_WAY
        assert club.sandbox.ledger() == []

    @BOTH
    def test_of_captures(self, market: Market, provider: str, fault: str) -> None:
        market.provider = provider
        for _ in range(40):
            market.order(market.past_session())
        market.sandbox.fault(fault, times=1000, seconds=60)
        assert market.run(PROCESSOR).exit_code == Exit.UNREACHABLE
        assert market.sandbox.requests()["charge"]["requests"] < 2 * UNDER_WAY

    def test_of_payments_by_hand(self, club: Club, fault: str) -> None:
        for _ in range(40):
            user = club.buyer()
            club.begun(user, club.pay(user))
        club.sandbox.fault(fault, "retrieve", times=1000, seconds=60)
        assert club.run(PENDING).exit_code == Exit.UNREACHABLE
        assert club.sandbox.requests()["retrieve"]["requests"] < 2 * UNDER_WAY

    def test_of_verifications(self, bazaar: Bazaar, fault: str) -> None:
        for _ in range(40):
            pending(bazaar)
        bazaar.sandbox.fault(fault, "retrieve", times=1000, seconds=60)
        assert bazaar.run(CLEANUP).exit_code == Exit.UNREACHABLE
        assert bazaar.sandbox.requests()["retrieve"]["requests"] < 2 * UNDER_WAY

    def test_of_tokens(self, bazaar: Bazaar, fault: str) -> None:
        for _ in range(40):
            credential(bazaar)
        bazaar.sandbox.fault(fault, "token", times=1000, seconds=60)
        assert bazaar.run(TOKENS).exit_code == Exit.UNREACHABLE
        assert bazaar.sandbox.requests()["token"]["requests"] < 2 * UNDER_WAY
