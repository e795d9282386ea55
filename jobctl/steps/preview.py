"""The dry run: the same selection and decisions, from one read-only snapshot, shown and not done."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Select, Table, select

from jobctl import journal, outbox
from jobctl.batches import Batch, rows_beside
from jobctl.changes import summed, value_of
from jobctl.db import among
from jobctl.job import (
    Ask,
    At,
    Due,
    EffectStep,
    ListStep,
    MoneyStep,
    RecoveryStep,
    ScopeDownError,
    SetStep,
    SettleStep,
    Step,
)
from jobctl.journal import Operation
from jobctl.providers.protocol import Release, Stored, UnrepresentableError
from jobctl.providers.switchboard import account, compose
from jobctl.steps import journalling
from jobctl.steps.concluding import asking
from jobctl.steps.effect import PUT_BACK, dead_owners
from jobctl.steps.inquiring import preview_effect, preview_list
from jobctl.steps.journalling import Entry
from jobctl.steps.running import Options, Running
from jobctl.steps.selection import Selection
from jobctl.steps.settling import Noted, looking
from jobctl.steps.showing import WITH_IT, Shown, changed, pages, shown
from jobctl.tables.findings import findings
from jobctl.tables.types import Key


def preview(step: Step, running: Running, connection: Connection) -> Iterator[Shown]:
    match step:
        case SetStep():
            return preview_set(step, running, connection)
        case EffectStep():
            return preview_effect(step, running, connection)
        case ListStep():
            return preview_list(step, running, connection)
        case MoneyStep():
            kinds = [(step.subject, kind) for kind in step.kinds]
            return chain(
                preview_recovery(kinds, running, connection), preview_money(step, running, connection)
            )
        case SettleStep():
            return preview_unfinished(step.due(running.at), running, connection)
        case RecoveryStep():
            return preview_recovery(step.kinds, running, connection)


def preview_set(step: SetStep, running: Running, connection: Connection) -> Iterator[Shown]:
    due = step.due(running.at)
    batch = Batch(running.at, due)
    step.change(running.at, batch)
    columns = replace(due, read=batch_columns(batch))
    selection = Selection(columns, running.options.since, running.options.only)
    totals: Totals = {}
    for page in pages(selection, running, connection):
        yield from (changed_in(batch, step.outcome, row) for row in page)
        ids = [row.id for row in page]
        yield from what_follows(batch, ids, connection)
        yield from what_is_added(batch, ids, totals, connection)
        if batch.sums:
            sums = rows_beside(batch, summed(batch.sums), ids, connection.dialect.name)
            found = connection.execute(sums).mappings().one()
            running.record.counts.update({name: int(value or 0) for name, value in found.items()})


def changed_in(batch: Batch, outcome: str, row: Any) -> Shown:
    table, named = batch.due.table, row_named(row)
    before = {name: shown(table, name, named[f"before_{name}"]) for name in batch.values()}
    after = {name: named[f"after_{name}"] for name in batch.values()}
    told = {"reason": "; ".join(batch.errors)} if batch.errors else {}
    money = {name: named[name] for name in MONEY} if all(name in table.c for name in MONEY) else {}
    return Shown(table.name, row.id, outcome, before, after, told, money)


def what_follows(batch: Batch, ids: Sequence[Key], connection: Connection) -> Iterator[Shown]:
    """Show what becomes of others with these rows."""
    dialect = connection.dialect.name
    for each in batch.besides:
        rows = rows_beside(batch, each.before(), ids, dialect)
        for row in connection.execute(rows):
            before = {name: row_named(row)[f"before_{name}"] for name in each.values}
            yield Shown(each.table.name, row.id, WITH_IT, before, each.values, {})
    for notice in batch.notices:
        rows = rows_beside(batch, outbox.queued(notice, batch.at, dialect), ids, dialect)
        for row in connection.execute(outbox.not_yet(rows)):
            told = {"template": row.template, "channel": row.channel, "to": f"user {row.user_id}"}
            yield Shown("notifications", row.once_key, "queued", {}, {}, told)
    for asked in batch.asked:
        rows = asked.rows.where(among(batch.due.key, ids, dialect))
        requests = {row.id: asked.make(row) for row in connection.execute(rows)}
        for entry in entries_of(asked.subject, batch.at, requests, connection):
            yield to_be_sent(batch.due.table, entry, batch.at, "journalled")


MONEY = ("amount_minor", "currency")
Totals = dict[tuple[str, Key, str], int]  # of tables, rows and columns: what they have come to so far


def what_is_added(
    batch: Batch, ids: Sequence[Key], totals: Totals, connection: Connection
) -> Iterator[Shown]:
    """Show rows that are new, but for those of a history, and sums that grow."""
    dialect = connection.dialect.name
    for new in batch.inserted:
        if not new.table.info.get("history"):
            rows = rows_beside(batch, new.rows(), ids, dialect)
            rows = not_known(rows) if new.table is findings else rows
            for row in connection.execute(rows, {"the_run": None}):
                told = {name: value for name, value in row_named(row).items() if value is not None}
                after = {name: shown(new.table, name, value) for name, value in told.items()}
                yield Shown(new.table.name, "new", WITH_IT, {}, after, {})
    for each in batch.added:
        lines = rows_beside(batch, each.lines(), ids, dialect).cte("lines")
        columns = [each.table.c[name].label(f"before_{name}") for name in each.amounts]
        sums = each.sums(lines).subquery("sums")
        found = select(sums, *columns).join(each.table, each.table.c.id == sums.c.row_id)
        for row in connection.execute(found.order_by(sums.c.row_id)):
            named, before, after = row_named(row), {}, {}
            for name in each.amounts:
                place = each.table.name, row.row_id, name
                before[name] = totals.get(place, named[f"before_{name}"])
                after[name] = totals[place] = before[name] + int(named[name])
            yield Shown(each.table.name, row.row_id, WITH_IT, before, after, {})


def preview_recovery(
    kinds: Sequence[tuple[str, str]], running: Running, connection: Connection
) -> Iterator[Shown]:
    """Show what is recovered beside other rows, which --since, --limit and --only are of."""
    alone = replace(running, options=Options())
    return preview_unfinished(journal.unfinished(running.at, kinds), alone, connection)


def preview_unfinished(due: Due, running: Running, connection: Connection) -> Iterator[Shown]:
    """Show the operations that a run takes up before anything new."""
    dead = dead_owners(due.table, connection, running.locks)
    left = connection.scalars(select(due.key).where(due.table.c.claimed_by.in_(dead))).all() if dead else ()
    selection = Selection(due, running.options.since, running.options.only, also=left)
    for page in pages(selection, running, connection):
        yield from (fate(Operation(*row[:-1]), due.table, running.at) for row in page)


def fate(operation: Operation, table: Table, at: At) -> Shown:
    told: dict[str, Any] = {name: getattr(operation, name) for name in ("kind", "key", "provider")}
    if not operation.is_open and not operation.seemed_absent:
        return Shown(table.name, operation.id, "would be settled", {}, {}, told)
    try:
        named = account(at.settings, operation.provider)
    except (ScopeDownError, UnrepresentableError) as error:
        return Shown(table.name, operation.id, PUT_BACK, {}, {}, {"reason": str(error)})
    if named != operation.account:
        reason = f"it is a matter of the account {operation.account}, and the settings have {named}"
        return Shown(table.name, operation.id, PUT_BACK, {}, {}, told | {"reason": reason})
    if operation.first_sent_at is None:
        asked = told | sent_of(operation.request)
        return Shown(table.name, operation.id, "would be sent", {}, {}, asked)
    return Shown(table.name, operation.id, "would ask the provider", {}, {}, told)


def preview_money(step: MoneyStep[Any], running: Running, connection: Connection) -> Iterator[Shown]:
    due = step.due(running.at)
    selection = Selection(due, running.options.since, running.options.only)
    for page in pages(selection, running, connection):
        rows = [step.row(*row[:-1]) for row in page]
        look = looking(connection, locking=False)
        asked = {row.id: asking(step, running.at, row, look) for row in rows}
        requests = {key: each for key, each in asked.items() if isinstance(each, Ask)}
        entries = {
            each.subject_id: each for each in entries_of(step.subject, running.at, requests, connection)
        }
        for row in rows:
            if row.id in entries:
                yield to_be_sent(due.table, entries[row.id], running.at, "would be sent")
            else:
                noted = asked[row.id]
                assert isinstance(noted, Noted), "neither a request nor a refusal"
                yield changed(connection, due.table, noted)


def entries_of(subject: str, at: At, requests: Mapping[int, Ask], connection: Connection) -> list[Entry]:
    """Derive the entries that a run would write; what it is asked of matters only to a run."""
    return journalling.numbered(
        connection, [Entry(ask, subject, key, "", at.installation) for key, ask in requests.items()]
    )


def to_be_sent(table: Table, entry: Entry, at: At, outcome: str) -> Shown:
    provider = entry.ask.provider
    try:
        journalling.account_of(at.settings, entry.ask)
        journalling.refuse_again(entry)
        request = compose(provider, entry.ask.request, entry.key)
    except UnrepresentableError as error:
        return Shown(table.name, entry.subject_id, "failed", {}, {}, {"reason": str(error)})
    except ScopeDownError as down:
        return Shown(table.name, entry.subject_id, PUT_BACK, {}, {}, {"reason": str(down)})
    named = {"kind": entry.kind, "key": entry.key, "provider": provider}
    told = named | sent_of(request) | amount_of(entry)
    return Shown(table.name, entry.subject_id, outcome, {}, {}, told)


def sent_of(request: Stored) -> dict[str, Any]:
    fields = request["document"] if "document" in request else dict(request["fields"])
    return {"request": f"{request['method']} {request['path']}", "fields": fields}


def amount_of(entry: Entry) -> dict[str, Any]:
    asked = entry.ask.request
    if isinstance(asked, Release):
        return {}
    return {"amount_minor": asked.amount.minor, "currency": asked.amount.currency}


def not_known(rows: Select[Any]) -> Select[Any]:
    """Select of findings those that nobody has found before."""
    found = rows.subquery("found")
    return select(found).where(found.c.once_key.not_in(select(findings.c.once_key)))


def row_named(row: Any) -> Mapping[str, Any]:
    named: Mapping[str, Any] = row._asdict()
    return named


def batch_columns(batch: Batch) -> dict[str, Any]:
    """Select what the change reads and what it would write, by the expressions of the change itself."""
    table = batch.due.table
    columns: dict[str, Any] = {"id": table.c.id}
    columns |= {name: table.c[name] for name in MONEY if name in table.c}
    for name, value in batch.values().items():
        columns[f"before_{name}"] = table.c[name]
        columns[f"after_{name}"] = value_of(table, name, value)
    return columns
