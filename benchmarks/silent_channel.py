"""The notification-sender as it is, templates included, with an e-mail channel that sends nothing."""

from dataclasses import replace

from jobctl.channels.protocol import Answer, Channel, Message, Sent
from jobctl.channels.switchboard import Switchboard
from jobctl.jobs.notifications import notification_sender


class Silent:
    def send(self, message: Message) -> Answer:
        return Sent(f"<{message.key}@example.com>")

    def close(self) -> None:
        pass


class SilentSwitchboard(Switchboard):
    def open(self, name: str) -> Channel:
        return Silent()


JOB = replace(notification_sender.JOB, connect=SilentSwitchboard)
