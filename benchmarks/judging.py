"""The provider's ledger against the rows, once everything is at rest: what was had twice, lost, or kept."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from benchmarks.killing import Scene
from jobctl.sandbox.ledger import Effect
from jobctl.tables.findings import findings
from jobctl.tables.journal import money_operations


@dataclass(frozen=True)
class Books:
    """What stands at the provider, by the payment's number, and whose it is by the journal."""

    on_hold: Mapping[str, int]
    taken: Mapping[str, int]  # and not given back
    owners: Mapping[str, int]  # the subject's number
    keys: Mapping[str, str]  # of the request that made it
    operations: Mapping[str, Any]  # by their keys

    @property
    def standing(self) -> Mapping[str, int]:
        return {**self.on_hold, **self.taken}

    def uncertain(self) -> list[str]:
        """Return the payments that were taken, and of which the journal does not know it yet."""
        return [each for each in self.taken if self.operations[self.keys[each]].status != "succeeded"]


def books_of(scene: Scene) -> Books:
    operations = {each.key: each for each in scene.world.rows(money_operations)}
    effects = scene.sandbox.ledger()
    keys = {each.intent: str(each.key) for each in effects if each.kind in ("hold", "charge")}
    held, taken = sums(effects, "hold"), sums(effects, "capture", "charge")
    gone = {each.intent for each in effects if each.kind in ("release", "expiry")} | set(taken)
    back = sums(effects, "refund")
    return Books(
        on_hold={each: amount for each, amount in held.items() if each not in gone},
        taken={each: amount - back[each] for each, amount in taken.items() if amount != back[each]},
        owners={each: operations[key].subject_id for each, key in keys.items()},
        keys=keys,
        operations=operations,
    )


def sums(effects: Collection[Effect], *kinds: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in effects:
        if each.kind in kinds:
            found[each.intent] += each.amount
    return found


@dataclass(frozen=True)
class Verdict:
    """Subjects that something is wrong with; all of these must be empty but for those that wait."""

    twice: Collection[int]
    lost: Collection[int]  # the rows have what the provider has not
    kept: Collection[int]  # the provider has what no row knows of
    stuck: Collection[int]
    waiting: Collection[int]  # for a person: they have an open finding

    def numbers(self) -> list[int]:
        return [len(getattr(self, each.name)) for each in fields(self)]

    def refuse(self) -> None:
        wrong = {each.name: sorted(getattr(self, each.name)) for each in fields(self)}
        del wrong["waiting"]
        if any(wrong.values()):
            raise SystemExit(f"wrong: {wrong}")


def judge(
    scene: Scene,
    wanted: Mapping[int, Mapping[str, int]],
    unfinished: Collection[int],
    forgiven: Collection[str],
) -> Verdict:
    """Compare what stands at the provider with what the rows want to, by subject.

    unfinished: subjects that have not come to their end. forgiven: payments that were refunded by hand, which
    may have been after their success was known.
    """
    books = books_of(scene)
    waiting = named(scene, books)
    there: dict[int, dict[str, int]] = {each: {} for each in wanted}
    for payment, amount in books.standing.items():
        there[books.owners[payment]][payment] = amount
    judged = [each for each in wanted if each not in waiting]
    unsettled = {each.subject_id for each in books.operations.values() if each.settled_at is None}
    return Verdict(
        twice=[each for each in judged if len(there[each]) > 1],
        lost=[each for each in judged if lacking(wanted[each], there[each], forgiven)],
        kept=[each for each in judged if there[each].keys() - wanted[each].keys()],
        stuck=[each for each in judged if each in unsettled or each in unfinished],
        waiting=waiting,
    )


def lacking(wanted: Mapping[str, int], there: Mapping[str, int], forgiven: Collection[str]) -> bool:
    return any(there.get(each) != amount for each, amount in wanted.items() if each not in forgiven)


def named(scene: Scene, books: Books) -> set[int]:
    """Return the subjects that an open finding names, by their number or by their payment's."""
    rows = [each for each in scene.world.rows(findings) if each.status == "open"]
    direct = {each.subject_id for each in rows if each.subject_id is not None}
    payments = {each.facts.get("payment") for each in rows}
    return direct | {books.owners[each] for each in payments if each in books.owners}
