"""What may be a mistake is noted in its line; where all is well nothing is."""

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.errors import Problem
from pltfrms.model.network.numbering import LENGTHS, Numbering
from pltfrms.specfile.checking.platforms.numbering import check_ids, check_numbering, that_fits
from pltfrms.specfile.load import load_directory, load_file
from tests.shapes.shapes import NAMES
from tests.strategies import make_platform

EXAMPLES = Path("examples")
THREE = EXAMPLES / "three-datacenters"
SHAPES = Path("tests/shapes")
_AGGREGATES = 'aggregates: [198.51.100.0/24, "2001:db8:100::/48"]'
_TIMERS = "timers: {external_bfd_interval: 200ms}"
_LON = [
    (line, "")
    for line in (THREE / "platform.yaml").read_text().splitlines(keepends=True)
    if "{edge: lon-" in line
]


def noted(directory: Path, *changes: tuple[str, str]) -> list[str]:
    """Return what is noted of the example platform with changes."""
    text = (THREE / "platform.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = directory / "platform.yaml"
    path.write_text(text)
    notes: list[Problem] = []
    load_file(path, notes)
    lines = text.splitlines()
    assert all("# <-" in lines[note.line - 1] for note in notes), "a note is in its line"
    return [f"{note.where}: {note.what} ({note.hint})" for note in notes]


def aggregates(*entries: str) -> tuple[str, str]:
    lines = [f"- {entry} # <-\n" for entry in entries]
    return (
        _AGGREGATES,
        f'aggregates:\n- 198.51.100.0/24\n- "2001:db8:100::/48"\n{"".join(lines)}',
    )


@pytest.mark.parametrize(
    "directory",
    [*sorted(EXAMPLES.iterdir()), *(SHAPES / name for name in NAMES)],
    ids=lambda each: each.name,
)
def test_nothing_is_noted_of_what_we_show(directory: Path) -> None:
    notes: list[Problem] = []
    load_directory(directory, notes)
    assert notes == []


def test_an_aggregate_that_no_session_can_announce_is_noted(tmp_path: Path) -> None:
    one = "{prefix: 203.0.112.0/24, datacenters: [lon]}"
    assert noted(tmp_path, aggregates(one), *_LON) == [
        "aggregates.2: 203.0.112.0/24 is announced by nobody (lon: no session of IPv4)"
    ]
    two = "{prefix: 203.0.112.0/24, datacenters: [fra, lon]}"
    assert noted(tmp_path, aggregates(two), *_LON) == [
        "aggregates.2: 203.0.112.0/24 is not announced by lon (lon: no session of IPv4)"
    ]


def test_a_place_that_brings_traffic_in_and_leads_nowhere_is_noted(tmp_path: Path) -> None:
    text = (SHAPES / "pop-without-nodes" / "platform.yaml").read_text()
    path = tmp_path / "platform.yaml"
    path.write_text("\n".join(line for line in text.splitlines() if "link" not in line))
    path.write_text(path.read_text().replace("backbone:", ""))
    notes: list[Problem] = []
    load_file(path, notes)
    (note,) = notes
    assert note.where == "datacenters.ber"
    assert note.what == "ber has no node and no link: what comes in there goes nowhere"
    assert "link: [ber-e1, ...]" in note.hint


def test_a_unicast_prefix_of_a_place_without_nodes_is_noted(tmp_path: Path) -> None:
    text = (SHAPES / "pop-without-nodes" / "platform.yaml").read_text()
    path = tmp_path / "platform.yaml"
    path.write_text(
        text.replace(
            "aggregates:\n", "aggregates:\n  - {prefix: 203.0.111.0/24, unicast: ber}\n"
        )
    )
    notes: list[Problem] = []
    load_file(path, notes)
    assert [note.what for note in notes] == ["203.0.111.0/24 is announced, but ber has no node"]


def test_a_family_that_no_session_speaks_is_noted(tmp_path: Path) -> None:
    text = (THREE / "platform.yaml").read_text()
    sessions = text[text.index("peers:") :]
    one = "{edge: fra-e1, ours: [203.0.113.1/31], theirs: [203.0.113.0]}"
    (found,) = noted(
        tmp_path,
        (sessions, ""),
        (
            _AGGREGATES,
            f"""peers:
  t: {{kind: transit, asn: 64601, sessions: [{one}]}}
aggregates:
- 198.51.100.0/24
- "2001:db8:100::/48" # <-""",
        ),
    )
    assert found == (
        "aggregates.1: 2001:db8:100::/48 is announced by nobody "
        "(fra, ams, lon: no session of IPv6)"
    )


def test_an_aggregate_that_overrides_silence_is_noted_unless_they_end(tmp_path: Path) -> None:
    silence = "traffic: [{prefix: 203.0.112.0/24, announce: false%s}]"
    always = (_TIMERS, silence % "")
    assert noted(tmp_path, aggregates("203.0.112.0/24"), always) == [
        "aggregates.2: 203.0.112.0/24 is announced by nobody (overrides in traffic forbid it)"
    ]
    for_a_while = (_TIMERS, silence % ", until: 2099-01-01")
    assert noted(tmp_path, aggregates("203.0.112.0/24"), for_a_while) == []


def test_a_second_unicast_prefix_that_nothing_uses_is_noted(tmp_path: Path) -> None:
    first, second = (f"{{prefix: 203.0.11{n}.0/24, unicast: fra}}" for n in (1, 2))
    (found,) = noted(tmp_path, aggregates(first, second))
    assert found == (
        "aggregates.3: 203.0.112.0/24 is announced, but nothing has an address of it "
        "(instances of fra speak from the first one, 203.0.111.0/24)"
    )


def test_a_node_that_speaks_from_an_address_of_a_session_is_noted(tmp_path: Path) -> None:
    old = 'ours: [203.0.113.1/31, "2001:db8:f000:1::1/127"], theirs: [203.0.113.0, '
    new = 'ours: [203.0.111.9/24, "2001:db8:f000:1::1/127"], theirs: [203.0.111.2, '
    (found,) = noted(tmp_path, aggregates("{prefix: 203.0.111.0/24, unicast: fra}"), (old, new))
    assert found == (
        "aggregates.2.unicast: fra-n2 speaks from 203.0.111.2/32, where 203.0.111.2 is in use, "
        "the neighbour's of the session of fra-e1 with transit1 (number the session otherwise; "
        "a node that is new may get another id)"
    )


def test_what_holds_anyway_may_be_said_of_a_unicast_prefix(tmp_path: Path) -> None:
    said = "{prefix: 203.0.111.0/24, unicast: fra, announce: healthy-local}"
    assert noted(tmp_path, aggregates(said)) == []


@pytest.mark.parametrize("prefix", ["192.168.0.0/16", '"fd12:3456::/48"', "203.0.112.0/24"])
def test_a_private_aggregate_is_noted_where_our_asn_is_a_public_one(
    prefix: str, tmp_path: Path
) -> None:
    public = (_AGGREGATES, f"aggregates:\n- {prefix} # <-")
    assert noted(tmp_path, ("asn: 64500", "asn: 64500"), public) == []
    found = noted(tmp_path, ("asn: 64500", "asn: 3333"), public)
    assert [each for each in found if "no other network takes it" in each] == found
    assert bool(found) is not prefix.startswith("203.0.112"), "203.0.112.0/24 is somebody's"


def test_an_override_that_is_over_is_noted(tmp_path: Path) -> None:
    old = "traffic:\n- peer: transit1\n  prepend: 1\n  until: 2021-01-01 # <-"
    assert noted(tmp_path, (_TIMERS, old)) == [
        "traffic.0.until: is over: this override does nothing (remove it)"
    ]


def test_a_variable_that_is_empty_is_noted_where_it_stands(tmp_path: Path) -> None:
    platform = (THREE / "platform.yaml").read_text().replace("198.51.100.0/24, ", "")
    (tmp_path / "platform.yaml").write_text(platform)
    web = (
        (THREE / "web.yaml").read_text().replace("listen 80;", "listen ${pltfrms.prefix4}:80;")
    )
    (tmp_path / "web.yaml").write_text(web)
    notes: list[Problem] = []
    load_directory(tmp_path, notes)
    (note,) = notes
    assert "${pltfrms.prefix4}" in web.splitlines()[note.line - 1]
    assert note.what == "${pltfrms.prefix4} is empty: the service has no IPv4"
    assert "else ${pltfrms.prefix6}" in note.hint


# ---- numbering -----------------------------------------------------------------------------


@given(
    length=st.sampled_from(LENGTHS),
    sites=st.integers(1, 8),
    nodes=st.integers(1, 40),
)
def test_a_numbering_that_is_suggested_fits(length: int, sites: int, nodes: int) -> None:
    prefix = IPv4Network((10 << 24, length))
    platform = make_platform({f"dc{number}": nodes for number in range(1, sites + 1)})
    found = that_fits(platform, prefix)
    if found is None:
        needed = Numbering(nodes=nodes, instances=2)
        assert needed.datacenters(prefix) < sites, "there is one, and it was not found"
    else:
        numbered = replace(platform, infrastructure4=prefix, numbering4=found)
        assert list(check_numbering(numbered)) == []
        assert list(check_ids(numbered)) == []
