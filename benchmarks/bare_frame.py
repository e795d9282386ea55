"""The notification-sender without its templates and channels: what is left is the frame's own work."""

from contextlib import nullcontext

from jobctl.channels.protocol import Answer, Sent
from jobctl.job import At, Call, EffectStep
from jobctl.jobs.notifications import notification_sender as real
from jobctl.jobs.notifications.notification_sender import Queued


def ask(_at: At, row: Queued) -> Call[int]:
    return Call(("email",), row.id, {})


def call(_outside: None, _payload: int) -> Answer:
    return Sent()


JOB = EffectStep(
    row=Queued,
    due=real.due,
    connect=lambda _at, _means: nullcontext(),
    ask=ask,
    call=call,
    settle=real.settle,
    concurrency=real.JOB.concurrency,
    lane=real.JOB.lane,
)
