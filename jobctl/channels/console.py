"""Messages for the eye: printed, and written to a folder where CONSOLE_FOLDER names one."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import IO

from jobctl import private
from jobctl.channels import mime
from jobctl.channels.protocol import Answer, Message, Refused, Sent
from jobctl.errors import Exit
from jobctl.job import ScopeDownError
from jobctl.settings import Settings

NOBODY = "jobctl@localhost"
RULE = "─" * 72
TURN = threading.Lock()  # one message at a time, whatever its channel


class Console:
    """Stands in for any channel: the default on the embedded database, elsewhere only when asked for."""

    def __init__(self, settings: Settings, out: IO[str]) -> None:
        self.settings, self.out = settings, out

    def send(self, message: Message) -> Answer:
        try:
            name, content = self.file_of(message)
        except mime.UnwritableError as error:
            return Refused(str(error), permanent=True)
        with TURN:
            show(message, self.out)
            if self.settings.console_folder:
                write(self.settings.console_folder, name, content, message.channel)
        return Sent(message.key)

    def file_of(self, message: Message) -> tuple[str, bytes]:
        """Return the file of a message; an e-mail that could not be sent is refused here as well."""
        if message.channel != "email":
            return f"{message.key}.txt", f"{message.subject}\n\n{body(message)}\n".encode()
        settings = replace(self.settings, email_from=self.settings.email_from or NOBODY)
        return f"{message.key}.eml", mime.seal(mime.compose(message, settings), message).content

    def close(self) -> None:
        pass


def body(message: Message) -> str:
    """Return the text, or what a webhook hands over instead of one."""
    return message.text.rstrip() or json.dumps(message.data, indent=2, ensure_ascii=False, default=str)


def show(message: Message, out: IO[str]) -> None:
    to = " ".join(filter(None, [message.recipient, f"<{message.address}>" if message.address else ""]))
    lines = (RULE, f"{message.channel} to {to}: {message.subject}", "", body(message))
    try:
        print(*lines, sep="\n", file=out, flush=True)  # else it would be marked sent, and lost in a buffer
    except OSError as error:
        reason = f"nobody reads what is printed ({error.strerror})"
        raise ScopeDownError(message.channel, reason) from error


def write(folder: Path, name: str, content: bytes, channel: str) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        private.make_folder(folder)
        private.write_file(folder / name, content)
    except OSError as error:
        reason = f"CONSOLE_FOLDER {folder} cannot be written ({error.strerror})"
        raise ScopeDownError(channel, reason, Exit.MISCONFIGURED) from error
