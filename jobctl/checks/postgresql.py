"""What PostgreSQL's catalogues say of tables."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, text

from jobctl.checks.shapes import NUMBERED, Column, Found, Sequence

# In whose words and names, and in which time zone, definitions are told.
WORDS = """
SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO', true),
    set_config('quote_all_identifiers', 'off', true)
"""
TABLES = """
SELECT t.oid, t.relname, t.relkind, t.relpersistence, row_security_active(t.oid) AS filtered,
    quote_ident(current_user) AS role,
    ARRAY(SELECT wanted FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted
          WHERE NOT has_table_privilege(t.oid, wanted)) AS refused
FROM pg_class t
WHERE t.relname = ANY(:names) AND t.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(t.oid)
"""
COLUMNS = """
SELECT a.attrelid AS oid, a.attnum AS number, a.attname AS name,
    format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,
    CASE WHEN a.attidentity <> '' THEN 'nextval(' ELSE pg_get_expr(d.adbin, d.adrelid) END AS value,
    a.attgenerated <> '' AS generated
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY(CAST(:oids AS oid[])) AND a.attnum > 0 AND NOT a.attisdropped
"""
INDEXES = """
SELECT i.indrelid AS oid, n.relname AS name, i.indisunique AS is_unique,
    i.indisvalid AND i.indisready AND i.indimmediate AS in_force,
    pg_get_expr(i.indpred, i.indrelid) AS predicate,
    CAST(i.indkey AS int2[]) AS columns, i.indnkeyatts AS keys
FROM pg_index i JOIN pg_class n ON n.oid = i.indexrelid WHERE i.indrelid = ANY(CAST(:oids AS oid[]))
"""
CONSTRAINTS = """
SELECT o.conrelid AS oid, o.conname AS name, o.contype AS kind, pg_get_constraintdef(o.oid) AS definition,
    NOT EXISTS (SELECT FROM pg_trigger t
                WHERE t.tgconstraint = o.oid AND t.tgenabled NOT IN ('O', 'A')) AS in_force
FROM pg_constraint o WHERE o.conrelid = ANY(CAST(:oids AS oid[])) AND o.contype IN ('c', 'f')
"""
TRIGGERS = """
SELECT t.tgrelid AS oid, t.tgname AS name, t.tgenabled IN ('O', 'A') AS in_force, p.prosrc AS body,
    replace(pg_get_triggerdef(t.oid), ' ON ' || quote_ident(n.nspname) || '.', ' ON ') AS definition
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = ANY(CAST(:oids AS oid[])) AND NOT t.tgisinternal
"""
# Of an identity nobody needs a right on its sequence; to know where it stands takes one.
SEQUENCES = """
SELECT d.refobjid AS oid, a.attname AS name, CAST(CAST(s.seqrelid AS regclass) AS text) AS sequence,
    a.attidentity <> '' OR has_sequence_privilege(s.seqrelid, 'USAGE') AS usable,
    CASE WHEN has_sequence_privilege(s.seqrelid, 'SELECT, USAGE')
        THEN coalesce(pg_sequence_last_value(s.seqrelid) + s.seqincrement, s.seqstart) END AS next
FROM pg_depend d JOIN pg_sequence s ON s.seqrelid = d.objid
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY(CAST(:oids AS oid[]))
    AND d.deptype IN ('a', 'i')
"""
KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
NOT_VALID = " NOT VALID"


def look(connection: Connection, names: list[str], *, rules: bool) -> dict[str, Found]:
    """Return those of the tables that there are, as jobctl's role finds them by its search path."""
    connection.execute(text(WORDS))
    tables = list(connection.execute(text(TABLES), {"names": names}))
    found = {
        each.oid: Found(
            kind=KINDS[each.relkind],
            lasting=each.relpersistence != "u",
            filtered=each.filtered,
            refused=each.refused,
            role=each.role,
        )
        for each in tables
    }

    def rows(query: str) -> Iterator[tuple[Found, Any]]:
        for each in connection.execute(text(query), {"oids": list(found)}):
            yield found[each.oid], each

    numbers: dict[tuple[int, int], str] = {}
    for table, each in rows(COLUMNS):
        numbers[each.oid, each.number] = each.name
        table.columns[each.name] = column(each)
    for table, each in rows(INDEXES):
        # An expression, which no index of ours has, is no column.
        index(table, each, [numbers.get((each.oid, number), "()") for number in each.columns[: each.keys]])
    for table, each in rows(CONSTRAINTS) if rules else ():
        constrain(table, each)
    for table, each in rows(TRIGGERS):
        table.names.add(each.name)
        if each.in_force:
            table.triggers[each.name], table.functions[each.name] = each.definition, each.body.strip()
        else:
            table.idle.add(each.name)
    named = {each.oid: each.relname for each in tables}
    number(connection, list(rows(SEQUENCES)), named)
    return {named[oid]: each for oid, each in found.items()}


def column(told: Any) -> Column:
    if told.generated:
        return Column(told.type, told.required, generated=told.value)
    numbered = told.value is not None and told.value.startswith("nextval(")
    return Column(told.type, told.required, NUMBERED if numbered else told.value)


def index(table: Found, told: Any, columns: list[str]) -> None:
    table.names.add(told.name)
    if told.in_force:
        where = f" WHERE {told.predicate}" if told.predicate else ""
        (table.unique if told.is_unique else table.indexes)[told.name] = f"({', '.join(columns)}){where}"


def constrain(table: Found, told: Any) -> None:
    table.names.add(told.name)
    definition = told.definition.removesuffix(NOT_VALID)
    if definition != told.definition:
        table.unchecked.append(told.name)
    if told.in_force:
        (table.checks if told.kind == "c" else table.keys)[told.name] = definition
    else:
        table.idle.add(told.name)


def number(connection: Connection, sequences: list[tuple[Found, Any]], named: Mapping[int, str]) -> None:
    """Hold each sequence against the highest number of its table, where that may be read."""
    readable = [
        (table, each) for table, each in sequences if "SELECT" not in table.refused and not table.filtered
    ]
    queries = [
        f'SELECT {n} AS n, max("{each.name}") AS highest FROM "{named[each.oid]}"'  # noqa: S608 (the catalogue's)
        for n, (_, each) in enumerate(readable)
    ]
    told = connection.execute(text(" UNION ALL ".join(queries))) if queries else ()
    highest = {each.n: each.highest for each in told}
    for n, (table, each) in enumerate(readable):
        table.sequences.append(Sequence(each.name, each.sequence, each.next, highest[n], each.usable))
