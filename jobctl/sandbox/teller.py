"""Where requests become effects: faults strike, keys are honoured, everything is counted."""

from dataclasses import replace
from email.utils import formatdate

from jobctl.sandbox.answers.gateway import GATEWAY
from jobctl.sandbox.answers.strike import Strike
from jobctl.sandbox.desk import Desk
from jobctl.sandbox.faults import ANSWER, ARRIVAL, DISTORTIONS, DURATION, EFFECT, Fault
from jobctl.sandbox.protocol import Answer, Call, Provider, Request, Task, as_json

BODIES = {"garbage": b"<html><body>Bad gateway</body></html>", "empty": b"{}"}


class Teller(Desk):
    """A request's way, which may be gone from any thread."""

    def exchange(self, request: Request) -> Answer | None:
        """Answer a request; None: close its connection without an answer."""
        provider = self._provider(request.path)
        if not provider:
            return as_json(404, {"error": f"no provider answers at {request.path}"})
        answer = self._answer(provider, request)
        return answer and dated(answer, self._local(provider))

    def _answer(self, provider: Provider, request: Request) -> Answer | None:
        call = provider.read(request)
        with self._lock:
            self._count(call)
            fault = self._faults.take(ARRIVAL, call)
            if fault and fault.kind == "late":
                self._postpone(provider, call, request, fault)
            if fault and fault.kind == "key_known":
                provider.occupy(request, call.key, self._at(provider))
                fault = None
        return self._turn_away(provider, fault) if fault else self._work(provider, call, request)

    def _provider(self, path: str) -> Provider | None:
        return next((each for prefix, each in self._providers.items() if path.startswith(prefix)), None)

    def _count(self, call: Call) -> None:
        self._counts[call.name]["requests"] += 1
        if call.version:
            self._versions[call.version] += 1

    def _postpone(self, provider: Provider, call: Call, request: Request, fault: Fault) -> None:
        """Let the request arrive later: until then neither it nor its key is known here."""

        def arrive(at: float) -> None:
            local = provider.office.local(at)
            begun = call.begin(local)
            if isinstance(begun, Task):
                begun.keep(begun.run(local))

        assert fault.seconds is not None
        about = {"call": call.name, "path": request.path, "key": call.key}
        self._agenda.add(self._clock.now() + fault.seconds, arrive, about)

    def _work(self, provider: Provider, call: Call, request: Request) -> Answer | None:
        with self._lock:
            begun = call.begin(self._at(provider))
            slow, awake = self._faults.take(DURATION, call), self._awake
        seconds = self.latency + (slow.seconds or 0 if slow else 0)
        if seconds:
            awake.wait(seconds)
        with self._lock:
            answer = self._finish(provider, call, begun) if isinstance(begun, Task) else begun
            self._counts[call.name]["replayed"] += answer.replayed
            last = self._faults.take(ANSWER, call)
        return self._spoil(provider, answer, last, request) if last else answer

    def _finish(self, provider: Provider, call: Call, task: Task) -> Answer:
        at = self._at(provider)
        fault = self._faults.take(EFFECT, call)
        if fault and fault.kind == "refused":
            answer = provider.refused(call.name)
        elif fault and fault.kind == "http_500_before":
            answer = provider.failure(500)
        else:
            answer = task.run(at)
            if fault:
                answer = provider.failure(500)
        task.keep(answer)
        return answer

    def _turn_away(self, provider: Provider, fault: Fault) -> Answer | None:
        """Answer what never gets as far as the idempotency layer."""
        seconds = fault.seconds or 0.0
        if fault.kind in GATEWAY:
            return GATEWAY[fault.kind](seconds, self._local(provider))
        if not fault.kind.startswith("http_"):
            return None
        return provider.failure(int(fault.kind.removeprefix("http_")), seconds)

    def _spoil(self, provider: Provider, answer: Answer, fault: Fault, request: Request) -> Answer | None:
        if fault.kind == "http_500_lost":
            return provider.failure(500)
        if fault.kind in DISTORTIONS:
            now, seconds = self._local(provider), fault.seconds or 0.0
            return DISTORTIONS[fault.kind](answer, Strike(request, now, seconds, fault.place, fault.kept))
        return replace(answer, status=200, body=BODIES[fault.kind]) if fault.kind in BODIES else None

    def _at(self, provider: Provider) -> float:
        """Let happen what is due, and return what the provider's clock says."""
        return provider.office.local(self._catch_up())

    def _local(self, provider: Provider) -> float:
        return provider.office.local(self._clock.now())


def dated(answer: Answer, at: float) -> Answer:
    """Say when it was given, by the provider's clock (RFC 9110, 6.6.1)."""
    return replace(answer, headers={"Date": formatdate(at, usegmt=True), **answer.headers})
