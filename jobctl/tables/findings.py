"""What a job found and may not decide: each once, until a person has resolved it."""

from sqlalchemy import BigInteger, Column, Identity, Table, Text

from jobctl.tables.types import (
    Currency,
    Id,
    Instant,
    Json,
    forms,
    index,
    inline,
    metadata,
    one_of,
    personal,
)

FINDING_STATUSES = ("open", "resolved")

_findings = (
    Column("id", Id, Identity(), primary_key=True),
    Column("kind", Text, nullable=False),  # "orphan payment"
    Column("once_key", Text, nullable=False, unique=True),  # the kind, and what it was found of
    Column("reason", Text, nullable=False),
    Column("facts", Json, nullable=False),
    Column("amount_minor", BigInteger),
    Column("currency", Currency),
    Column("status", Text, nullable=False, server_default="open"),
    Column("run_id", Id),
    Column("found_at", Instant, nullable=False),
    Column("resolved_at", Instant),
    personal(Column("resolution", Text)),  # free text: the trail must not keep it
    Column("subject", Text),  # what waits until it is resolved: no job asks anything about it; null: nothing
    Column("subject_id", Id),
)
findings = Table("findings", metadata, *_findings, one_of("status", FINDING_STATUSES), *forms(*_findings))
_open = findings.c.status == inline("open")
index("ix_findings_open", findings.c.id, where=_open)
waiting = _open & findings.c.subject.is_not(None)
index("ix_findings_waiting", findings.c.subject, findings.c.subject_id, where=waiting)
