"""How much a part may have."""

import pytest

from pltfrms.planner.parts.room import size_of, why_no_lease, why_no_room
from pltfrms.planner.parts.tokens import TOKEN_SECONDS, is_valid, service_in, token_for

FULL = {f"{number}".encode(): 10 for number in range(256)}


def test_a_key_more_than_fit_is_refused_and_one_that_is_there_is_not() -> None:
    assert why_no_room(FULL, [(b"one more", 1)]) == "a part has at most 256 keys"
    assert not why_no_room(FULL, [(b"7", 1)])


def test_bytes_are_counted_as_what_may_be_written() -> None:
    known = {b"a": 1_000_000}
    assert not why_no_room(known, [(b"b", 48_576)])
    assert "1048576 bytes" in why_no_room(known, [(b"b", 48_577)])
    assert "1048576 bytes" in why_no_room(known, [(b"b", 48_577), (b"b", 1)])
    assert not why_no_room({b"a": 2_000_000}, [(b"a", 1_999_999)])  # it gets less


def test_an_answer_is_as_long_as_what_is_in_it() -> None:
    kvs = [{"key": "YQ==", "value": "x" * 100}, {"key": "Yg=="}]
    responses = [{"response_range": {"kvs": kvs, "count": "2"}}, {}]
    assert size_of({"header": {"revision": "7"}, "responses": responses}) == 1 + 4 + 100 + 4 + 1
    assert size_of({"succeeded": True, "none": None}) == 0


@pytest.mark.parametrize(
    ("seconds", "there", "says"),
    [(4, 0, "5 to 300"), (301, 0, "5 to 300"), (0, 0, "5 to 300"), (20, 32, "32 leases")],
)
def test_a_lease_lives_so_long_and_there_are_so_many(
    seconds: int, there: int, says: str
) -> None:
    assert says in why_no_lease(seconds, there)
    assert not why_no_lease(5, 31)
    assert not why_no_lease(300, 0)


def test_a_token_is_of_one_service_one_second_and_one_word() -> None:
    token = token_for("db", b"word", 1000)
    assert service_in(token) == "db"
    assert is_valid(token, [b"other", b"word"], 1000)
    assert is_valid(token, [b"word"], 1000 + TOKEN_SECONDS)
    assert is_valid(token, [b"word"], 900)  # clocks of controllers differ
    assert not is_valid(token, [b"word"], 1001 + TOKEN_SECONDS)
    assert not is_valid(token, [b"words"], 1000)
    assert not is_valid(token, [], 1000)
    assert not is_valid(token.replace("1000", "1001"), [b"word"], 1000)
    assert not is_valid(token.replace("db", "dc"), [b"word"], 1000)


@pytest.mark.parametrize(
    "token", ["", "db", "db.1", "db.1.", "db.x.y", ".1.x", "db.²." + "0" * 64]
)
def test_what_is_no_token_is_of_nobody(token: str) -> None:
    assert service_in(token) == ""
    assert not is_valid(token, [b""], 1)
