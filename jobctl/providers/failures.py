"""How what failed at a provider is told: the same for each of them, but for its own words and codes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from jobctl.errors import Exit
from jobctl.job import ScopeDownError
from jobctl.providers.pages import Torn
from jobctl.providers.protocol import NotFound, Unknown
from jobctl.providers.transport import Reply
from jobctl.providers.wire import word


@dataclass(frozen=True)
class Failures:
    """One provider's failures.

    name: as people write it. base: the setting that has its address. own: tells whether a 404 is the
    provider's own word that there is no such object. words: what an answer says. code: its code, if it has
    one. trace: by what the provider finds the request again.
    """

    name: str
    base: str
    own: Callable[[Reply], bool]
    words: Callable[[Reply], Sequence[str]]
    code: Callable[[Reply], object] = lambda _: None
    trace: Callable[[Reply], str] = lambda _: ""

    def elsewhere(self, reply: Reply) -> bool:
        """Tell whether somebody else than the provider knows of nothing at that place."""
        return reply.status == HTTPStatus.NOT_FOUND and not self.own(reply)

    def closes(self, reply: Reply) -> Exit | None:
        """Return the exit code where it is of no use for the rest of the run."""
        return Exit.MISCONFIGURED if self.elsewhere(reply) else reply.closes

    def said(self, reply: Reply) -> str:
        if reply.status is None:
            return f"{self.name} gave no answer: {reply.trouble}"
        parts = [
            f"{self.name} answered {reply.status}",
            *self.words(reply),
            f"of nothing that it has: is {self.base} right?" if self.elsewhere(reply) else "",
            reply.trouble,
            self.trace(reply),
        ]
        return ", ".join(each for each in parts if each)

    def no_answer(self, reply: Reply) -> Unknown:
        """Read what tells nothing, or the failure of a look-up."""
        code = "no_answer" if reply.status is None else f"http_{reply.status}"
        return Unknown(code, self.said(reply), self.closes(reply))

    def code_of(self, reply: Reply) -> str:
        """Return the code of a failed look-up."""
        if not reply.begun:
            return "not_reached"
        return word(self.code(reply), self.no_answer(reply).code)

    def torn(self, end: Torn) -> Unknown:
        """Read the end of a list that is not complete."""
        if end.reply.status != HTTPStatus.OK:
            return self.no_answer(end.reply)
        reason = end.reason or "its page is none that can be read"
        return Unknown("unexpected_answer", f"{self.name}'s list cannot be relied on: {reason}")

    def of_one_torn(self, end: Torn) -> Unknown | NotFound:
        """Read the end of a list of what belongs to one payment, which may not be there at all."""
        return NotFound(self.said(end.reply)) if self.own(end.reply) else self.torn(end)

    def list_failed(self, scope: str, end: Torn) -> ScopeDownError:
        """Return why a list is of no use."""
        failed = self.torn(end)
        reason = f"{self.name}'s list failed: {failed.reason}"
        return ScopeDownError(scope, reason, failed.closes or Exit.UNREACHABLE)
