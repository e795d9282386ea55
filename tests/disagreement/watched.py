"""A sandbox that lets something happen in the middle of a run: before a request has its effect, or after."""

from collections.abc import Callable

from jobctl.sandbox import Sandbox
from jobctl.sandbox.control import PREFIX
from jobctl.sandbox.protocol import Answer, Request

Act = Callable[[], bool]  # returns whether whoever asked is still there


class Watched(Sandbox):
    def __init__(self) -> None:
        super().__init__()
        self._hook: Act | None = None
        self._left, self._after = 0, False

    def meanwhile(self, number: int, act: Act, *, after: bool) -> None:
        """Let something happen at the so many-th request from now, once."""
        self._hook, self._left, self._after = act, number, after

    def never(self) -> bool:
        """Let what has not happened not happen any more; return whether it had been to come."""
        left, self._hook = self._hook is not None, None
        return left

    def respond(self, request: Request) -> Answer | None:
        act = self._hooked(request)
        if act and not self._after and not act():
            return None
        answer = super().respond(request)
        return None if act and self._after and not act() else answer

    def _hooked(self, request: Request) -> Act | None:
        with self._lock:
            if request.path.startswith(PREFIX) or self._hook is None:
                return None
            self._left -= 1
            if self._left > 0:
                return None
            act, self._hook = self._hook, None
            return act
