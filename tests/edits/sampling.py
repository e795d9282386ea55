"""A sample in which each kind and each file is met, the same for the same seed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from random import Random

from tests.edits.decisions import is_sound
from tests.edits.source import Edit, Source

Group = list[Edit]


def sample(edits: Sequence[Edit], sources: Mapping[str, Source], seed: int, number: int) -> list[Edit]:
    """Take edits of each kind and file in turn, and with one its twins; number: 0 for all."""
    if not number:
        return [each for each in edits if is_sound(each, sources[each.file])]
    random, cells = Random(seed), defaultdict[tuple[str, str], list[Group]](list)
    for group in twins(edits):
        cells[group[0].kind, group[0].file].append(group)
    for each in cells.values():
        random.shuffle(each)
    taken: list[Edit] = []
    kinds, files = Counter[str](), Counter[str]()
    while cells and len(taken) < number:
        ranked = [(kinds[kind], files[file], random.random(), (kind, file)) for kind, file in cells]
        cell = min(ranked)[-1]
        group = cells[cell].pop()
        if not cells[cell]:
            del cells[cell]
        sound = [each for each in group if is_sound(each, sources[each.file])]
        taken += sound[: number - len(taken)]
        kinds.update(each.kind for each in sound)
        files.update(each.file for each in sound)
    return taken


def twins(edits: Iterable[Edit]) -> list[Group]:
    """Group the edits of the same decision in functions of one name, wherever they stand."""
    found = defaultdict[tuple[str, ...], Group](list)
    for each in edits:
        found[each.twin_key].append(each)
    return list(found.values())
