"""What is told of edits that were tried: figures by kind and file, and those that no test noticed."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from click import echo

from tests.edits.source import Edit
from tests.edits.trying import Outcome

WIDTH = 160  # of what is shown of a line


def tell(tried: Mapping[Edit, Outcome]) -> None:
    for by in (lambda edit: edit.kind, lambda edit: edit.file):
        echo()
        for name, (noticed, total) in figures(tried, by).items():
            echo(f"{noticed:5} of {total:4} {noticed / total:5.0%}  {name}")
    missed = unnoticed(tried)
    if missed:
        echo("\nNot noticed:")
    for edit in missed:
        echo(f"\n{edit.show()}\n{lines(edit)}\n  {how(tried[edit])}{beside(edit, tried)}")
    noticed = len(tried) - len(missed)
    echo(
        f"\n{noticed} of {len(tried)} edits were noticed"
        + (f" ({noticed / len(tried):.0%})" if tried else "")
    )


def figures(tried: Mapping[Edit, Outcome], by: Callable[[Edit], str]) -> Mapping[str, tuple[int, int]]:
    found = defaultdict[str, list[bool]](list)
    for edit, outcome in tried.items():
        found[by(edit)].append(outcome.by is not None)
    return {name: (sum(each), len(each)) for name, each in sorted(found.items())}


def unnoticed(tried: Mapping[Edit, Outcome]) -> list[Edit]:
    return sorted((edit for edit, outcome in tried.items() if outcome.by is None), key=lambda each: each[1:3])


def how(outcome: Outcome) -> str:
    if not outcome.over:
        return "no recorded test runs over it"
    if outcome.cut:
        return f"{outcome.ran} of the {outcome.over} tests over it ran before the time was used up"
    return f"{outcome.ran} tests ran over it"


def beside(edit: Edit, tried: Mapping[Edit, Outcome]) -> str:
    """Name a twin that was noticed: what its tests do is not done here."""
    twins = (each for each in tried if each.twin_key == edit.twin_key and tried[each].by is not None)
    twin = next(twins, None)
    return f"; its twin in {twin.file}:{twin.line} was noticed" if twin else ""


def lines(edit: Edit) -> str:
    """Show the line before and after, about where they begin to differ."""
    pairs = enumerate(zip(edit.before, edit.after, strict=False))
    differs = next((n for n, (one, other) in pairs if one != other), 0)
    start = max(0, differs - WIDTH // 2) if max(len(edit.before), len(edit.after)) > WIDTH else 0
    before, after = (each[start : start + WIDTH] for each in (edit.before, edit.after))
    return f"  - {before}\n  + {after}"


def listed(edits: Iterable[Edit], reasons: Callable[[Edit], str | None]) -> None:
    for each in edits:
        echo(f"{each.show()}\n{lines(each)}")
        if reason := reasons(each):
            echo(f"  equivalent: {reason}")


def write(path: Path, tried: Mapping[Edit, Outcome], left_out: Sequence[Edit]) -> None:
    document: dict[str, Any] = {
        "total": len(tried),
        "noticed": len(tried) - len(unnoticed(tried)),
        "kinds": figures(tried, lambda edit: edit.kind),
        "files": figures(tried, lambda edit: edit.file),
        "edits": [described(edit, outcome) for edit, outcome in tried.items()],
        "equivalent": [each.id for each in left_out],
    }
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def described(edit: Edit, outcome: Outcome) -> dict[str, Any]:
    place = ("id", "file", "line", "kind", "function", "before", "after")
    return {
        **{name: getattr(edit, name) for name in place},
        **outcome._asdict(),
        "noticed": outcome.by is not None,
    }
