"""`jobctl invariants`: what is always true of the database, checked row by row."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import click
from sqlalchemy import Connection, func, select

from jobctl.commands.shared import NUMBER, as_json, loaded, show
from jobctl.db import in_one_process, open_database
from jobctl.errors import Exit
from jobctl.invariants.every import RULES
from jobctl.invariants.rule import Rule
from jobctl.output import readable, to_json

SHOWN = 20  # broken rows of a rule on a terminal; --json has all
NAMES = [each.name for each in RULES]
WIDTH = max(map(len, NAMES))


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, type=click.Choice(NAMES))
@click.option("--list", "listed", is_flag=True, help="List the rules, and check nothing.")
@click.option("--limit", type=NUMBER, help=f"Show so many rows of each rule  [default: {SHOWN}; --json: all]")
@as_json
def invariants(names: tuple[str, ...], *, listed: bool, limit: int | None, as_json: bool) -> int:
    """Check what is always true of the database, or the rules that are named.

    All rules see one moment of it, and nothing is changed. Exit code 6 says that a rule is broken; each has
    its rows printed, with the facts that break it.
    """
    chosen = [each for each in RULES if not names or each.name in names]
    if listed:
        show(("name", "rule"), [(each.name, each.sentence) for each in chosen], json=as_json, empty="")
        return Exit.DONE
    check = check_as_json if as_json else check_as_text
    with open_database(loaded().settings, read_only=True) as database, database.transaction() as connection:
        in_one_process(connection)
        broken = check(connection, chosen, limit)
    return Exit.INVARIANT_BROKEN if broken else Exit.DONE


def check_as_text(connection: Connection, rules: Sequence[Rule], limit: int | None) -> int:
    counts = [told(connection, each, limit or SHOWN) for each in rules]
    broken = [count for count in counts if count]
    click.echo(sentence(len(counts) - len(broken), len(broken), sum(broken)))
    return len(broken)


def told(connection: Connection, rule: Rule, limit: int) -> int:
    """Print a line about a rule, and under it the first of the rows that break it; return how many do."""
    count = counted(connection, rule)
    click.echo(f"{rule.name:{WIDTH}}  {f'broken: {rows(count)}' if count else 'holds'}")
    for each in broken_rows(connection, rule, limit) if count else ():
        click.echo(f"  {line(each)}")
    if count > limit:
        click.echo(f"  … and {count - limit:,} more (--json shows all)")
    return count


def check_as_json(connection: Connection, rules: Sequence[Rule], limit: int | None) -> int:
    """Print one JSON document, row by row, however many there are; return how many rules are broken."""
    click.echo('{"rules": [', nl=False)
    broken = 0
    for n, each in enumerate(rules):
        count = counted(connection, each)
        broken += count > 0
        about = {"name": each.name, "rule": each.sentence, "holds": not count, "count": count}
        click.echo((",\n" if n else "\n") + to_json(about)[:-1] + ', "rows": [', nl=False)
        for m, row in enumerate(broken_rows(connection, each, limit) if count else ()):
            click.echo((",\n  " if m else "\n  ") + to_json(row), nl=False)
        click.echo("]}", nl=False)
    click.echo(f'\n], "broken": {broken}}}')
    return broken


def counted(connection: Connection, rule: Rule) -> int:
    # Counted first: of whoever asks for rows, PostgreSQL expects that few of them will be read.
    return connection.scalar(select(func.count()).select_from(rule.broken.subquery())) or 0


def broken_rows(connection: Connection, rule: Rule, limit: int | None) -> Iterator[dict[str, Any]]:
    found = rule.broken.subquery()
    query = select(found).order_by(found.c.id).limit(limit)
    for each in connection.execute(query, execution_options={"yield_per": 500}).mappings():
        yield {"table": rule.table.name, **{name: whole(value) for name, value in each.items()}}


def whole(value: Any) -> Any:
    """Return a sum as the whole number that it is: PostgreSQL's are numeric."""
    return int(value) if isinstance(value, Decimal) else value


def line(row: dict[str, Any]) -> str:
    facts = [f"{name}={readable(value)}" for name, value in row.items() if name not in ("table", "id")]
    return "  ".join([f"{row['table']} {row['id']}", *facts])


def sentence(holding: int, broken: int, count: int) -> str:
    hold = f"{holding} {'rule holds' if holding == 1 else 'rules hold'}"
    if not broken:
        return f"{hold}; none is broken."
    return f"{hold}, {broken} {'is' if broken == 1 else 'are'} broken by {rows(count)}."


def rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"
