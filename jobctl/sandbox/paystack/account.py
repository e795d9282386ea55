"""What belongs to one key, and how its money moves (Paystack: Verify Payments, Refunds)."""

from jobctl.sandbox.clock import instant, moment
from jobctl.sandbox.ledger import Effect
from jobctl.sandbox.office import Office
from jobctl.sandbox.paystack.objects import REVERSED, SUCCESS, Refund, Transaction
from jobctl.sandbox.paystack.shelf import Shelf

NAME = "paystack"
# Paystack's numbers have long outgrown 32 bits.
FIRST_TRANSACTION, FIRST_REFUND = 4_099_260_516, 15_000_000


class Account:
    """Its transactions and refunds."""

    def __init__(self, office: Office) -> None:
        self.transactions: Shelf[Transaction] = Shelf(FIRST_TRANSACTION, office)
        self.refunds: Shelf[Refund] = Shelf(FIRST_REFUND, office)
        self._references: dict[str, Transaction] = {}
        self.office = office

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
            self.record("charge", transaction, transaction.amount, transaction.metadata, at)

    def record(
        self, kind: str, transaction: Transaction, amount: int, metadata: dict[str, str], at: float
    ) -> Effect:
        what = (transaction.reference, amount, transaction.currency)
        return self.office.record(Effect(NAME, kind, *what, dict(metadata), None, instant(at)))
