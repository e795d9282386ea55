"""The in-app inbox: a row for the application to show, written when the message is settled."""

from dataclasses import dataclass

from jobctl.channels.protocol import Sent


@dataclass(frozen=True)
class Placed(Sent):
    """What goes into the inbox, in the transaction that marks the message sent: exactly once.

    That needs nobody outside, so no call is made.
    """

    subject: str = ""
    text: str = ""
