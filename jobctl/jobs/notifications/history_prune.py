"""Keep jobctl's own tables within their retention.

Run records, item errors, idle counters and the audit trail are deleted when they have grown too old; of
settled notifications, the bodies and addresses are erased. What `--since` excludes is not touched.
"""

from typing import Any

from sqlalchemy import Column, Table

from jobctl.job import At, BatchChanges, Due, SetStep
from jobctl.tables.frame import audit_trail, idle_runs, run_errors, runs
from jobctl.tables.notifications import notifications


def older(table: Table, when: Column[Any], retention: str, what: str) -> SetStep:
    """Delete the rows of one table whose instant `when` is past the retention of that setting."""

    def due(at: At) -> Due:
        limit = at.now - getattr(at.settings, retention)
        return Due(table, {f"it is older than {retention.upper()}": when <= limit}, since=when, order=when)

    return SetStep(due, delete, what)


def delete(at: At, batch: BatchChanges) -> None:  # noqa: ARG001 (every step's change has these)
    batch.delete()


def erasable(at: At) -> Due:
    ours = notifications.c
    return Due(
        notifications,
        {
            # A failed or held message too, which nobody can then queue again.
            "it was settled longer than PII_RETENTION ago": ours.settled_at
            <= at.now - at.settings.pii_retention,
            "it is not erased yet": ours.erased_at.is_(None),
        },
        since=ours.settled_at,
    )


def erase(at: At, batch: BatchChanges) -> None:
    batch.update(context={}, address=None, reason=None, erased_at=at.now)


JOB = (
    older(runs, runs.c.ended_at, "run_retention", "run records deleted"),
    older(run_errors, run_errors.c.at, "run_retention", "item errors deleted"),
    older(idle_runs, idle_runs.c.last_at, "run_retention", "idle counters deleted"),
    older(audit_trail, audit_trail.c.at, "audit_retention", "audit rows deleted"),
    SetStep(erasable, erase, "notifications erased"),
)
