"""A mail server in a process of its own, so that it shares no interpreter with what is measured.

Told `python -m benchmarks.mail_server LATENCY` it prints its port; each line that it reads makes it
print how many messages came, to how many different recipients and by how many connections, and forget them.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.servers import MailServer


@dataclass(frozen=True)
class Got:
    messages: int
    recipients: int
    connections: int
    seconds: float  # from the first message to the last


@dataclass(frozen=True)
class Mailbox:
    port: int
    process: "subprocess.Popen[str]"

    def empty(self) -> Got:
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        return Got(**json.loads(self.process.stdout.readline()))


@contextmanager
def mail_server(latency: float) -> Iterator[Mailbox]:
    """Start the server; each message's last reply comes `latency` seconds late."""
    command = [sys.executable, "-m", "benchmarks.mail_server", str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield Mailbox(int(process.stdout.readline()), process)
        finally:
            process.stdin.close()


def got(server: MailServer) -> Got:
    mails, connections = list(server.messages), server.connections
    server.messages.clear()
    server.connections = 0
    recipients = {each.recipients for each in mails}
    seconds = mails[-1].at - mails[0].at if mails else 0.0
    return Got(len(mails), len(recipients), connections, seconds)


def main(latency: float) -> None:
    with MailServer() as server:
        server.latency = latency
        print(server.port, flush=True)
        for _ in sys.stdin:
            print(json.dumps(vars(got(server))), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
