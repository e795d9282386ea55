"""What is told from outside can be written down, whatever it is, and an id is an id."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from jobctl.outside_text import DEEPEST, LONGEST, MOST, an_id, an_object, is_id, storable
from tests.world import World

BACK = "\\"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Your card was declined.", "Your card was declined."),
        ("Карта отклонена 💳", "Карта отклонена 💳"),
        ("a\tb\nc", "a\tb\nc"),
        ("a\x00b\rc\x1b[2Jd\x7fe\x9bf", "a b c [2Jd e f"),
        ("a\u2028b\u2029c", "a b c"),
        ("a\ud800b\udfffc", "a\ufffdb\ufffdc"),
        ("succeeded\x00", "succeeded "),  # not the word that it looks like
    ],
)
def test_what_no_database_or_terminal_takes_is_replaced(said: str, kept: str) -> None:
    assert storable(said) == kept


@given(st.text(alphabet=st.characters(), max_size=50))
def test_whatever_it_is_it_is_of_the_same_length_and_can_be_encoded(said: str) -> None:
    kept = storable(said)
    assert len(kept) == len(said)
    kept.encode()
    assert not any((ord(each) < 32 and each not in "\t\n") or 0x7F <= ord(each) < 0xA0 for each in kept)


def test_any_database_stores_it(world: World) -> None:
    odd = "".join(map(chr, [*range(256), 0x2028, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x10FFFF]))
    with world.engine.begin() as connection:
        kept = connection.scalar(text("SELECT CAST(:odd AS TEXT)"), {"odd": storable(odd)})
    assert kept == storable(odd)


@pytest.mark.parametrize(
    "value",
    ["", " ", "a b", "a\n", "é", "a\x00", "a" * 256, 12, 12.5, True, None, ["a"], {"id": "a"}, b"a"],
    ids=repr,
)
def test_what_is_no_id(value: Any) -> None:
    assert not is_id(value)
    with pytest.raises(ValueError, match="visible ASCII"):
        an_id(value)


@pytest.mark.parametrize("value", ["1", "pi_3MtwBwLkdIwHu7ix28a3tqPa", "22e12f66-000f-5000-8000", "~" * 255])
def test_what_is_an_id(value: str) -> None:
    assert is_id(value)
    assert an_id(value) == value


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"{}", {}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": [1, 2.5, true, null, {"b": "c"}]}', {"a": [1, 2.5, True, None, {"b": "c"}]}),
        (f'{{"a": {2**63 - 1}}}'.encode(), {"a": 2**63 - 1}),
        (f'{{"a": {-(2**63)}}}'.encode(), {"a": -(2**63)}),
        (f'{{"a": {2**63}, "b": {2**64 - 1}}}'.encode(), {"a": str(2**63), "b": str(2**64 - 1)}),
    ],
)
def test_an_object_is_read(body: bytes, found: Any) -> None:
    assert an_object(body) == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[1]",
        b'"a"',
        b"<html>",
        b'{"a": ',
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": [{"b": -Infinity}]}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"a": ' + b"[" * DEEPEST + b"]" * DEEPEST + b"}",
        b'{"a": [' + b"1," * MOST + b"1]}",
        b'{"a": [' + b",".join([b"[" * 50 + b"]" * 50] * (MOST // 50)) + b"]}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_object_or_cannot_be_kept_is_nothing(body: bytes) -> None:
    assert an_object(body) is None


def test_keys_and_values_are_storable_wherever_they_are() -> None:
    odd = f'{{"a{BACK}u0000": ["x{BACK}ud800", {{"b{BACK}u001b": "y{BACK}u0085"}}]}}'
    assert an_object(odd.encode()) == {"a ": ["x\ufffd", {"b ": "y "}]}
    assert an_object(b'{"a": "\xf0\x9f\x92\xb3"}') == {"a": "💳"}
    assert an_object(f'{{"a": "{BACK}ud83d{BACK}udcb3"}}'.encode()) == {"a": "💳"}


def test_strings_are_cut() -> None:
    long = json.dumps({"k" * 3000: "v" * 3000}).encode()
    assert an_object(long) == {"k" * LONGEST: "v" * LONGEST}
    assert an_object(long, longest=16_000) == {"k" * 3000: "v" * 3000}


def test_what_is_hidden_is_so_however_it_is_written() -> None:
    said = b'{"a": "key sk/1 is none", "sk\\/1": ["\\u0073k\\/1"]}'
    found = an_object(said, hide=lambda told: told.replace("sk/1", "[secret]"))
    assert found == {"a": "key [secret] is none", "[secret]": ["[secret]"]}
    # What is cut through would not be found any more.
    long = json.dumps({"a": "x" * (LONGEST - 2) + "sk/1"}).encode()
    assert "sk" not in str(an_object(long, hide=lambda told: told.replace("sk/1", "[secret]")))


def test_it_takes_time_in_proportion() -> None:
    began = time.process_time()
    an_object(b'{"a": "' + b"\\u0000" * 1_000_000 + b'"}')
    an_object(b'{"a": [' + b'"\x7f",' * (MOST - 1) + b"1]}")
    assert time.process_time() - began < 5
