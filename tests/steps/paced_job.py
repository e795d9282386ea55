"""The job of `effect_job` with a pace for each channel, one of them far slower than the other."""

from dataclasses import replace
from typing import Any, NamedTuple

from jobctl.job import At, Due, EffectStep
from jobctl.parsing import Rate
from jobctl.tables.notifications import notifications
from tests.steps import effect_job

PACES = {"email": Rate(1, 10), "webhook": Rate(50, 1)}
ours = notifications.c


class Message(NamedTuple):
    id: int
    claimed_by: int | None
    topic: str | None
    channel: str


def due(at: At) -> Due:
    return replace(effect_job.due(at), read={name: ours[name] for name in Message._fields})


STEP: EffectStep[Any, Any, Any, Any] = effect_job.JOB
JOB = replace(STEP, row=Message, due=due, lane=ours.channel, pace=lambda _settings: PACES)
