"""Answers that are right, and come over the wire in a way that does harm."""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from jobctl.sandbox.answers.strike import Distort, Strike
from jobctl.sandbox.protocol import Answer

UNPACKED = 200 << 20  # bytes
ENDLESS = 1 << 40


@lru_cache(maxsize=1)
def bomb() -> bytes:
    """Return a JSON object of 200 MB, packed by gzip into 200 KB."""
    packer, block = zlib.compressobj(9, wbits=31), b" " * (1 << 20)
    blocks = (packer.compress(block) for _ in range(UNPACKED // len(block)))
    return b"".join((packer.compress(b'{"id": "'), *blocks, packer.compress(b'"}'), packer.flush()))


def gzip_bomb(answer: Answer, _: Strike) -> Answer:
    return replace(answer, body=bomb(), headers={**answer.headers, "Content-Encoding": "gzip"})


def truncated(answer: Answer, _: Strike) -> Answer:
    """Close the connection in the middle of the body."""
    return replace(answer, body=answer.body[: len(answer.body) // 2], length=len(answer.body))


def wrong_length(answer: Answer, _: Strike) -> Answer:
    """Say that the body has half the bytes that it has."""
    return replace(answer, length=len(answer.body) // 2)


def drip(answer: Answer, strike: Strike) -> Answer:
    return replace(answer, body=b"{", length=ENDLESS, drip=strike.seconds)


def drip_head(answer: Answer, strike: Strike) -> Answer:
    return replace(answer, head_only=True, drip=strike.seconds)


TRANSFER: Mapping[str, Distort] = {
    "gzip_bomb": gzip_bomb,
    "truncated": truncated,
    "wrong_length": wrong_length,
    "drip": drip,
    "drip_head": drip_head,
}
