"""SMTP conversations that end: each reply as a whole within the time-out, and of bounded size.

`smtplib` bounds neither: its time-out is for each piece that comes, and a reply may have any number of lines.
"""

import io
import smtplib

from jobctl.receiving import Bounded

MOST = 64 * 1024  # bytes of a reply; RFC 5321, 4.5.3.1.5, asks for lines of 512, and few


class Conversation(smtplib.SMTP):
    """A conversation in plain text, or one that STARTTLS encrypts."""

    _received: Bounded | None = None

    def getreply(self) -> tuple[int, bytes]:
        """Return a reply's code and text; raises SMTPServerDisconnected where none comes as a whole."""
        if self.file is None and self.sock is not None:
            self._received = Bounded(self.sock)
            self.file = io.BufferedReader(self._received)
        if self._received:
            self._received.begin("reply", MOST)
        return super().getreply()


class EncryptedConversation(Conversation, smtplib.SMTP_SSL):
    """A conversation that is encrypted from its begin."""
