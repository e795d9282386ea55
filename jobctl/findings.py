"""Findings: what a job found and may not decide is written down once, and needs a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from jobctl.changes import Author, update_each
from jobctl.db import insertion
from jobctl.history import RunRecord
from jobctl.money import Money
from jobctl.outside_text import storable
from jobctl.tables.findings import findings
from jobctl.tables.types import inline

MISMATCH = "money mismatch"  # of an operation, after whose key it is named


@dataclass(frozen=True)
class Finding:
    """One thing that was found; `once` names what it was found of, and is found of that one time.

    waits: the subject, and its number, of which no job asks anything until a person has resolved this.
    """

    kind: str
    once: Sequence[Any]
    reason: str
    amount: Money | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    waits: tuple[str, int] | None = None

    @property
    def key(self) -> str:
        return key_of(self.kind, self.once)

    def values(self, at: datetime) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "once_key": self.key,
            "reason": storable(self.reason),
            "facts": dict(self.facts),
            "amount_minor": self.amount and self.amount.minor,
            "currency": self.amount and self.amount.currency,
            "found_at": at,
            "subject": self.waits and self.waits[0],
            "subject_id": self.waits and self.waits[1],
        }

    def is_new(self, connection: Connection) -> bool:
        known = select(findings.c.id).where(findings.c.once_key == self.key)
        return connection.scalar(known) is None

    def write_down(self, connection: Connection, run: RunRecord, at: datetime) -> None:
        """Write it down, and as an error of the run that is the first to find it."""
        fresh = insertion(findings, connection.dialect.name).values(run_id=run.id, **self.values(at))
        new = fresh.on_conflict_do_nothing(index_elements=["once_key"]).returning(findings.c.id)
        number = connection.scalar(new)
        if number is not None:
            run.error(connection, at, "findings", number, f"{self.kind}: {self.reason}")
            run.findings += 1


def key_of(kind: str, once: Sequence[Any]) -> str:
    """Derive what tells a finding from others: its kind, and what it was found of."""
    return storable(".".join(str(each) for each in (kind, *once)))


def resolve(connection: Connection, key: str, reason: str, author: Author) -> None:
    """Resolve a finding that needs nobody any more; one that there isn't, or is resolved, stays as it is."""
    known = select(findings.c.id).where(findings.c.once_key == key, findings.c.status == inline("open"))
    for each in connection.scalars(known.with_for_update()).all():
        values = {"status": "resolved", "resolved_at": author.at, "resolution": reason}
        update_each(connection, findings, {each: values}, None, author)
