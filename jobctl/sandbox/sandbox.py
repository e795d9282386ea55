"""The sandbox as a whole: a desk behind an address."""

import threading
from collections.abc import Collection
from typing import Self

from jobctl.sandbox import control
from jobctl.sandbox.accounts import (
    BILLING_FORBIDDEN_KEY,
    FLUTTERWAVE_FORBIDDEN_SECRET,
    FORBIDDEN_KEY,
    PAYSTACK_FORBIDDEN_KEY,
    YOOKASSA_FORBIDDEN_KEY,
)
from jobctl.sandbox.protocol import Answer, Request
from jobctl.sandbox.server import HOST, Server
from jobctl.sandbox.teller import Teller

FORBIDDEN = {
    FORBIDDEN_KEY,
    YOOKASSA_FORBIDDEN_KEY,
    PAYSTACK_FORBIDDEN_KEY,
    FLUTTERWAVE_FORBIDDEN_SECRET,
    BILLING_FORBIDDEN_KEY,
}


class Sandbox(Teller):
    """Serves from a thread while it is entered; port 0 is any free one. Raises OSError for one in use."""

    def __init__(
        self, *, port: int = 0, latency: float = 0.0, forbidden: Collection[str] = FORBIDDEN
    ) -> None:
        """Wait `latency` seconds before each answer; say 403 to the keys in `forbidden`."""
        super().__init__(latency, forbidden)
        self._server = Server(port, self.respond)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.port}"

    def respond(self, request: Request) -> Answer | None:
        if request.path.startswith(control.PREFIX):
            return control.answer(self, request)
        return self.exchange(request)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.wake()
        self._server.end()
        self._thread.join()
