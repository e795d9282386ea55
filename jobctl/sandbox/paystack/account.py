"""What belongs to one key, and how its money moves (Paystack: Verify Payments, Refunds)."""

from jobctl.sandbox.clock import instant, moment
from jobctl.sandbox.ledger import Effect
from jobctl.sandbox.office import Office
from jobctl.sandbox.paystack.errors import PaystackError
from jobctl.sandbox.paystack.objects import REVERSED, SUCCESS, Refund, Transaction
from jobctl.sandbox.paystack.shelf import Shelf

NAME = "paystack"
PROCESSING = 60  # seconds until a refund is decided
FAILS = "fails"  # the refund whose merchant_note says so
# Paystack's numbers have long outgrown 32 bits.
FIRST_TRANSACTION, FIRST_REFUND = 4_099_260_516, 15_000_000


class Account:
    """Its transactions and refunds."""

    def __init__(self, office: Office) -> None:
        self.transactions: Shelf[Transaction] = Shelf(FIRST_TRANSACTION, office)
        self.refunds: Shelf[Refund] = Shelf(FIRST_REFUND, office)
        self._references: dict[str, Transaction] = {}
        self._office = office

    def referred(self, reference: str) -> Transaction | None:
        return self._references.get(reference)

    def add(self, made: Transaction) -> Transaction:
        self._references[made.reference] = made
        return self.transactions.add(made)

    def change(self, transaction: Transaction, status: str, at: float) -> None:
        """Let the customer, or the bank, have come so far; what a bank takes back is no refund of ours."""
        transaction.status = status
        if status in (SUCCESS, REVERSED):
            transaction.paid = transaction.paid or moment(at)
        if status == SUCCESS:
            self._record("charge", transaction, transaction.amount, transaction.metadata, at)

    def refund(self, refund: Refund, at: float) -> None:
        """Take a refund on, of which there has to be as much left; it is decided later (Refunds)."""
        transaction = refund.transaction
        check_refundable(transaction)
        if refund.amount > transaction.left:
            raise PaystackError("Refund amount cannot be more than transaction amount")
        transaction.refunding += refund.amount
        self.refunds.add(refund)
        self._office.later(at + PROCESSING, lambda due: self._decide(refund, due))

    def _decide(self, refund: Refund, at: float) -> None:
        """Give the money back, which is when it moves; what failed is left again."""
        transaction = refund.transaction
        transaction.refunding -= refund.amount
        if FAILS in refund.merchant_note:
            refund.status = "failed"
            return
        refund.status, refund.refunded = "processed", moment(at)
        transaction.refunded += refund.amount
        if transaction.refunded == transaction.amount:
            transaction.status = REVERSED
        self._record("refund", transaction, refund.amount, {"merchant_note": refund.merchant_note}, at)

    def _record(
        self, kind: str, transaction: Transaction, amount: int, metadata: dict[str, str], at: float
    ) -> None:
        what = (transaction.reference, amount, transaction.currency)
        self._office.record(Effect(NAME, kind, *what, dict(metadata), None, instant(at)))


def check_refundable(transaction: Transaction) -> None:
    if transaction.status not in (SUCCESS, REVERSED):
        raise PaystackError(f"Transaction is {transaction.status}: only a successful one can be refunded")
    if not transaction.left:
        raise PaystackError("Transaction has been fully reversed")
