"""The in-app inbox: a row for the application to show, written when the message is settled."""

from dataclasses import dataclass

from jobctl.channels.protocol import Answer, Message, Sent


@dataclass(frozen=True)
class Placed(Sent):
    """What goes into the inbox, in the transaction that marks the message sent: exactly once."""

    subject: str = ""
    text: str = ""


class Tray:
    def send(self, message: Message) -> Answer:
        return Placed(subject=message.subject, text=message.text)

    def close(self) -> None:
        pass
