"""The tables of docs/network/ say what the code does."""

import re
from pathlib import Path

from pltfrms.cli.network.community_words import FUNCTIONS
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.peering import Peer, PeerKind, Reject
from pltfrms.model.running.machine import (
    AGGREGATE_TABLE,
    ELSEWHERE_TABLE,
    INSTANCE_TABLE,
    LOCAL_TABLE,
    REMOTE_TABLE,
    ROLE_TABLE,
    SERVICE_TABLE,
)
from pltfrms.render.filter import REASONS

PAGES = (Path(__file__).parent.parent / "docs" / "network").glob("*.md")
PAGE = "\n".join(page.read_text() for page in sorted(PAGES))


def test_every_reason_of_refusal_is_there_with_its_number() -> None:
    rows = re.findall(r"^\| (\d+) \| `([a-z-]+)` \| (.+) \|$", PAGE, re.MULTILINE)
    assert {(int(number), word, text) for number, word, text in rows} == {
        (reject.number, reject.value, reject.sentence) for reject in Reject
    }


def test_every_kind_of_peer_is_there_with_its_preference() -> None:
    peers = [
        Peer(name="x", kind=kind, asn=1, sessions=(), route_server=server)
        for kind in PeerKind
        for server in (True, False)
    ]
    wanted = {(peer.role, peer.preference, peer.origin) for peer in peers}
    rows = re.findall(
        r"^\| `.*\| ([a-z_]+) \| (\d+) \| [a-z, ]+ \| (\d) \|$", PAGE, re.MULTILINE
    )
    assert {(role, int(value), int(origin)) for role, value, origin in rows} == wanted


def test_every_guard_and_counter_is_there() -> None:
    for word in (*Guard, *REASONS):
        assert f"| `{word}` |" in PAGE


def test_every_large_community_is_there() -> None:
    table = PAGE.split("| large community `OUR_ASN:f:v` | meaning |")[1].split("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    found: set[int] = set()
    for cell in cells:
        if "standard" not in cell:
            numbers = [int(number) for number in re.findall(r"`(\d+):", cell)]
            found |= set(range(numbers[0], numbers[-1] + 1)) if ".." in cell else set(numbers)
    assert found == FUNCTIONS


def test_every_kernel_table_is_there() -> None:
    table = PAGE.split("| kernel table | on |")[1].split("\n\n")[0]
    assert {int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {
        SERVICE_TABLE,
        AGGREGATE_TABLE,
        LOCAL_TABLE,
        REMOTE_TABLE,
        ELSEWHERE_TABLE,
        INSTANCE_TABLE,
        ROLE_TABLE,
    }
