"""What a service may ask of its part, as an etcd reads it that is checked by eye."""

import base64
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.planner.parts.questions import PartJudge, PartQuestion, lease_of, ttl_of
from pltfrms.planner.parts.refusals import PartError
from pltfrms.planner.parts.room import BYTES_MAX

OURS = PartJudge("db")
BEGIN = b"/pltfrms-parts/db/"
NAMES = (
    b"",
    b"\0",
    b"/",
    b"/pltfrms/platform",
    b"/pltfrms-part-leases/db/1",
    b"/pltfrms-parts/",
    b"/pltfrms-parts/db",
    BEGIN,
    BEGIN + b"\0",
    BEGIN + b"a",
    BEGIN + b"\xff",
    b"/pltfrms-parts/db0",
    b"/pltfrms-parts/db0/a",
    b"/pltfrms-parts/db1",
    b"/pltfrms-parts/dba/a",
    b"\xff",
)


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


keys = (
    st.sampled_from(NAMES) | st.binary(max_size=30) | st.binary(max_size=5).map(BEGIN.__add__)
)
noise = st.dictionaries(
    st.sampled_from(["key", "range_end", "rangeEnd", "value", "lease", "limit", "x"]),
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | keys.map(b64),
    max_size=4,
)
places = (
    st.builds(lambda key, end: {"key": b64(key), "range_end": b64(end)}, keys, keys) | noise
)
puts = st.builds(lambda key: {"key": b64(key), "value": b64(b"x"), "lease": "7"}, keys) | noise
compares = st.builds(lambda key: {"key": b64(key), "target": "MOD"}, keys) | noise
operations = st.one_of(
    places.map(lambda each: {"request_range": each}),
    puts.map(lambda each: {"request_put": each}),
    places.map(lambda each: {"request_delete_range": each}),
    noise,
)


def txn_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(operations | inner.map(lambda each: {"request_txn": each}), max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={"compare": st.lists(compares, max_size=2), "success": some, "failure": some},
    )


txns = st.recursive(txn_of(noise), txn_of, max_leaves=4)


def touched(question: Mapping[str, Any], name: bytes) -> bool:
    """Return whether etcd would look at or change a key for a question about a place."""
    key = base64.b64decode(question.get("key", ""))
    end = base64.b64decode(question.get("range_end", ""))
    if not end:
        return key == name
    return key <= name and (end == b"\0" or name < end)


def all_places(question: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a transaction is about, as etcd reads it."""
    found = list(question.get("compare", ()))
    for operation in (*question.get("success", ()), *question.get("failure", ())):
        for name, inner in operation.items():
            found += all_places(inner) if name == "request_txn" else [inner]
    return found


def require_ours(found: list[Mapping[str, Any]]) -> None:
    for question in found:
        assert base64.b64decode(question["key"]).startswith(BEGIN)
        for name in NAMES:
            if not name.startswith(BEGIN):
                assert not touched(question, name), (question, name)


@given(said=places)
def test_no_range_reaches_beyond_the_part(said: object) -> None:
    for judge in (OURS.range, OURS.delete_range):
        try:
            asked = judge(said)
        except PartError:
            continue
        require_ours([asked.question])


@given(said=puts)
def test_nothing_is_written_beyond_the_part(said: object) -> None:
    try:
        asked = OURS.put(said)
    except PartError:
        return
    require_ours([asked.question])
    assert [key for key, _ in asked.puts] == [base64.b64decode(asked.question["key"])]
    assert all(key.decode().startswith("/pltfrms-parts/db/") for key, _ in asked.puts)


@given(said=txns)
def test_no_branch_of_a_transaction_reaches_beyond_the_part(said: object) -> None:
    try:
        asked = OURS.txn(said)
    except PartError:
        return
    found = all_places(asked.question)
    require_ours(found)
    assert len(asked.puts) == sum("value" in each and "target" not in each for each in found)
    assert asked.leases == {int(each["lease"]) for each in found if "lease" in each}


@given(said=places)
def test_no_watch_reaches_beyond_the_part(said: object) -> None:
    try:
        asked = OURS.watch({"create_request": said})
    except PartError:
        return
    require_ours([asked.question["create_request"]])


@given(
    said=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each),
    )
)
def test_whatever_is_said_is_answered(said: object) -> None:
    for judge in (
        OURS.range,
        OURS.put,
        OURS.delete_range,
        OURS.txn,
        OURS.watch,
        ttl_of,
        lease_of,
    ):
        with contextlib.suppress(PartError):
            judge(said)


def test_what_is_asked_is_what_was_said() -> None:
    """As Patroni says it, which is all that there must be."""
    place = {"key": b64(BEGIN + b"leader"), "range_end": b64(BEGIN + b"leadf")}
    assert OURS.range(place | {"serializable": True}) == PartQuestion(
        question=place | {"serializable": True}, reads=BYTES_MAX
    )
    compare = {"key": place["key"], "target": "MOD", "mod_revision": "7"}
    put = {"key": place["key"], "value": b64(b"fra-1"), "lease": "8"}
    said = {
        "compare": [compare],
        "success": [{"request_put": put}],
        "failure": [{"request_txn": {"compare": [compare], "success": [{"request_put": put}]}}],
    }
    asked = OURS.txn(said)
    whole = compare | {"result": "EQUAL"}
    assert asked.question == {
        "compare": [whole],
        "success": [{"request_put": put}],
        "failure": [
            {
                "request_txn": {
                    "compare": [whole],
                    "success": [{"request_put": put}],
                    "failure": [],
                }
            }
        ],
    }
    assert (asked.leases, len(asked.puts), asked.deletes) == ({8}, 2, False)
    watch = {"create_request": place | {"start_revision": "9", "filters": []}}
    asked_of_etcd = place | {"start_revision": "9", "fragment": True}
    assert OURS.watch(watch).question == {"create_request": asked_of_etcd}


@pytest.mark.parametrize("end", [b"\0", b"\xff", b"/pltfrms-parts/db1", b"/pltfrms-parts/dc"])
def test_a_range_ends_within_the_part(end: bytes) -> None:
    with pytest.raises(PartError, match="permission denied"):
        OURS.range({"key": b64(BEGIN), "range_end": b64(end)})


def test_no_question_has_an_answer_of_many_times_the_part() -> None:
    whole = {"key": b64(BEGIN), "range_end": b64(b"/pltfrms-parts/db0")}
    one = {"key": b64(BEGIN + b"a")}
    gone = {"request_delete_range": whole | {"prev_kv": True}}
    fits = [{"request_range": whole}] * 2 + [gone] * 2
    assert OURS.txn({"success": fits}).reads == 4 * BYTES_MAX
    assert OURS.txn({"success": [{"request_range": one}] * 64}).reads == 4 * BYTES_MAX
    assert not OURS.txn({"success": [{"request_delete_range": whole}] * 64}).reads
    for more in ({"request_range": one}, {"request_put": one | {"prev_kv": True}}, gone):
        nested = {"request_txn": {"failure": [more]}}
        for said in ({"success": [*fits, more]}, {"success": fits, "failure": [nested]}):
            with pytest.raises(PartError, match="ask for less"):
                OURS.txn(said)


def test_a_key_is_text_as_all_of_the_store() -> None:
    """Else nobody who lists the store could read it."""
    key = b64(BEGIN + b"\xff")
    inner = {"request_put": {"key": key, "value": b64(b"x")}}
    for judge, said in (
        (OURS.put, {"key": key, "value": b64(b"x")}),
        (OURS.txn, {"failure": [{"request_txn": {"success": [inner]}}]}),
    ):
        with pytest.raises(PartError, match="not in UTF-8"):
            judge(said)


def test_the_same_field_twice_is_the_last_one() -> None:
    """And that alone is asked, so that etcd cannot read another one."""
    ours, theirs = b64(BEGIN), b64(b"/pltfrms/")
    said = json.loads(f'{{"key": "{theirs}", "key": "{ours}"}}')
    assert OURS.range(said).question == {"key": ours}
