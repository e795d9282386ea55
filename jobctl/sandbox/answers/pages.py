"""Pages of lists that mislead whoever follows them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from jobctl.sandbox.answers.strike import OK, Distort, Strike, document_of, saying
from jobctl.sandbox.protocol import Answer

Page = dict[str, Any]
CURSOR = "37a5c87d-3984-51e8-a7f3-8de646d39ec1"


def changed(change: Callable[[Page], None]) -> Distort:
    """Return what changes each page of a list, and leaves refusals as they are."""

    def distort(answer: Answer, _: Strike) -> Answer:
        page = document_of(answer)
        if page is None or answer.status != OK:
            return answer
        change(page)
        return saying(answer, page)

    return distort


def repeated(answer: Answer, strike: Strike) -> Answer:
    """Say the first page of each list for ever, and that there is more after it."""
    kept, page = strike.kept.get(strike.request.path), document_of(answer)
    if kept is not None:
        return replace(kept, headers=answer.headers)
    if page is None or answer.status != OK:
        return answer
    promise(page)
    strike.kept[strike.request.path] = first = saying(answer, page)
    return first


def promise(page: Page) -> None:
    """Say that there is more, as the provider does: Stripe, YooKassa, Paystack by cursor and by number."""
    meta = page.get("meta")
    if "has_more" in page:
        page["has_more"] = True
    elif "items" in page:
        page.setdefault("next_cursor", CURSOR)
    elif meta and "next" in meta:
        meta["next"] = meta["next"] or CURSOR
    elif meta:
        meta["pageCount"] = max(meta["pageCount"], meta["page"] + 1)


def without_meta(page: Page) -> None:
    """Take away what says whether there is more; at YooKassa that nothing is said says it, so its items."""
    for name in ("has_more", "meta", "items"):
        page.pop(name, None)


def failed(page: Page) -> None:
    """Say with an empty list that the call failed; where there is no word for that, say nothing else."""
    kept = {name: value for name, value in page.items() if name in ("object", "type", "url")}
    page.clear()
    page.update(kept or {"status": False, "message": "An error occurred"})
    page["items" if "type" in kept else "data"] = []


def reordered(page: Page) -> None:
    for name in ("data", "items"):
        if name in page:
            page[name] = page[name][::-1]


PAGES: Mapping[str, Distort] = {
    "page_repeats": repeated,
    "page_without_meta": changed(without_meta),
    "page_failed": changed(failed),
    "page_reordered": changed(reordered),
}
