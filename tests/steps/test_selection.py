"""What a run remembers of the rows that it had in hand."""

import random

from jobctl.steps.selection import BLOCK, Seen


def test_seen_knows_what_was_added_and_nothing_else() -> None:
    chance = random.Random(7)
    near = [BLOCK * block + place for block in (-1, 0, 1, 2**50) for place in (0, 1, BLOCK - 1)]
    asked: list[int | str] = [*near, *(chance.randrange(-(2**63), 2**63) for _ in range(500)), "a", "", "1"]
    added = chance.sample(asked, len(asked) // 2)
    seen = Seen()
    for each in added:
        seen.add(each)
    assert [each for each in asked if each in seen] == [each for each in asked if each in added]


def test_a_million_numbers_need_little_room() -> None:
    seen = Seen()
    for each in range(1_000_000):
        seen.add(each)
    assert sum(each.__sizeof__() for each in seen.bits.values()) + seen.bits.__sizeof__() < 200_000
