"""The frame's own tables: run records, the audit trail, idle counters, the installation's name."""

from typing import Any

from sqlalchemy import Column, ColumnElement, Identity, Integer, Table, Text, UniqueConstraint

from jobctl.tables.types import Id, Instant, Json, forms, index, metadata, one_of

OUTCOMES = ("running", "done", "items failed", "outcomes unknown", "interrupted", "failed", "died")

# One row: eight characters made by the first `db upgrade`, the beginning of every derived key.
installation = Table("installation", metadata, Column("id", Text, primary_key=True))

_runs = (
    Column("id", Id, Identity(), primary_key=True),
    Column("job", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("outcome", Text, nullable=False),
    Column("exit_code", Integer),
    Column("counts", Json, nullable=False),
    Column(
        "drift", Json, nullable=False, server_default="[]"
    ),  # what was found to differ here and at payment providers
    Column("options", Json, nullable=False),
    Column("error", Text),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
)
# AUTOINCREMENT: the trail outlives a pruned run, whose number must not name another one.
runs = Table("runs", metadata, *_runs, one_of("outcome", OUTCOMES), *forms(*_runs), sqlite_autoincrement=True)
index("ix_runs_job_id", runs.c.job, runs.c.id)
index("ix_runs_ended_at", runs.c.ended_at)

_run_errors = (
    Column("id", Id, Identity(), primary_key=True),
    Column("run_id", Id, nullable=False),
    Column("at", Instant, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("row_id", Id),
    Column("error", Text, nullable=False),
    Column("row_key", Text),
)
run_errors = Table("run_errors", metadata, *_run_errors, *forms(*_run_errors))
index("ix_run_errors_run_id", run_errors.c.run_id, run_errors.c.id)
index("ix_run_errors_at", run_errors.c.at)

# Not tied to `runs` by a foreign key: the trail outlives the run records. A row is named by its number, or by
# its text in row_key where its table's primary key is one.
_audit_trail = (
    Column("id", Id, Identity(), primary_key=True),
    Column("run_id", Id, nullable=False),
    Column("at", Instant, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("row_id", Id),
    Column("before", Json, nullable=False),
    Column("after", Json, nullable=False),
    Column("row_key", Text),
)
audit_trail = Table("audit_trail", metadata, *_audit_trail, *forms(*_audit_trail))
index("ix_audit_trail_run_id", audit_trail.c.run_id, audit_trail.c.id)
index("ix_audit_trail_row", audit_trail.c.table_name, audit_trail.c.row_id)
index("ix_audit_trail_at", audit_trail.c.at)

# How far a list step has followed what somebody else lists.
_watermarks = (
    Column("id", Id, Identity(), primary_key=True),
    Column("source", Text, nullable=False, unique=True),
    Column("until", Instant, nullable=False),
)
watermarks = Table("watermarks", metadata, *_watermarks, *forms(*_watermarks))


def named_in(key: ColumnElement[Any]) -> str:
    """Return the column of the trail, and of errors, that names a row of a table with this primary key."""
    return "row_key" if isinstance(key.type, Text) else "row_id"


# What was found down, and has not been found up again; `the run` where a job could not begin at all.
_circuits = (
    Column("id", Id, Identity(), primary_key=True),
    Column("job", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("exit_code", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("asked_again_at", Instant),  # not before, as it said itself
    Column("run_id", Id),  # the run that found it so, if it got so far
)
circuits = Table("circuits", metadata, *_circuits, UniqueConstraint("job", "scope"), *forms(*_circuits))

# A job that runs every few seconds mostly finds nothing; it must not fill the table of runs.
_idle_runs = (
    Column("id", Id, Identity(), primary_key=True),
    Column("job", Text, nullable=False, unique=True),
    Column("idle_runs", Integer, nullable=False),
    Column("last_idle_at", Instant),
    Column("last_idle_exit", Integer),  # not 0 where nothing could be done: a provider is down, say
    Column("overlapped", Integer, nullable=False),
    Column("last_overlap_at", Instant),
    Column("last_at", Instant, nullable=False),
    Column("last_success_at", Instant),  # of all runs that no option bounded, not only of idle ones
)
idle_runs = Table("idle_runs", metadata, *_idle_runs, *forms(*_idle_runs))
