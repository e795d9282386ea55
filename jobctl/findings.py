"""Findings: what a job found and may not decide is written down once, and needs a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from jobctl.db import insertion
from jobctl.history import RunRecord
from jobctl.money import Money
from jobctl.tables.findings import findings


@dataclass(frozen=True)
class Finding:
    """One thing that was found; `once` names what it was found of, and is found of that one time."""

    kind: str
    once: Sequence[Any]
    reason: str
    amount: Money | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return ".".join(str(each) for each in (self.kind, *self.once))

    def values(self, at: datetime) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "once_key": self.key,
            "reason": self.reason,
            "facts": dict(self.facts),
            "amount_minor": self.amount and self.amount.minor,
            "currency": self.amount and self.amount.currency,
            "found_at": at,
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
