"""What a platform says about routing: the right words of the model, or every mistake."""

import contextlib
import dataclasses
import re
import shutil
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # ships no types
from ruamel.yaml import YAML

from pltfrms.codec import decode, encode
from pltfrms.errors import Problem, SpecError
from pltfrms.model.network.links import Link, LinkKind
from pltfrms.model.network.peering import (
    Allowed,
    DefaultRoute,
    OriginValidation,
    Peer,
    PeerKind,
    RtrCache,
    Session,
)
from pltfrms.model.network.topology import (
    Guards,
    Machine,
    NodePrefixes,
    Platform,
    Role,
    TwoPeople,
)
from pltfrms.model.network.traffic import Override
from pltfrms.specfile import check_platform, json_schema, load_platform
from tests.specfile.bad_peering import FILES, PEERING, BadFile
from tests.specfile.bad_routing import ROUTING
from tests.specfile.bad_specs import Bad
from tests.strategies import make_public_key

HERE = Path(__file__).parent / "routing"
MARK = "# <-"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return Path(shutil.copytree(HERE, tmp_path / "routing"))


@pytest.fixture(scope="module")
def platform() -> Platform:
    return load_platform(HERE / "platform.yaml")


def change(directory: Path, *pairs: tuple[str, str]) -> Path:
    path = directory / "platform.yaml"
    text = path.read_text()
    for old, new in pairs:
        assert old in text, "the table does not fit the platform any more"
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


def problems_of(load: Callable[[], object]) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        load()
    return caught.value.problems


def peer_of(platform: Platform, name: str) -> Peer:
    return next(peer for peer in platform.peers if peer.name == name)


# ---- right words ---------------------------------------------------------------------------


def test_a_transit_is_read(platform: Platform) -> None:
    assert peer_of(platform, "transit1") == Peer(
        name="transit1",
        kind=PeerKind.TRANSIT,
        asn=64601,
        sessions=(
            Session(
                edge="fra-e1",
                ours=(
                    ip_interface("203.0.113.1/31"),
                    ip_interface("2001:db8:f000:1::1/127"),
                ),
                theirs=(ip_address("203.0.113.0"), ip_address("2001:db8:f000:1::")),
                interface="x-transit1",
                password="s3cret!",  # noqa: S106 (of nobody)
                gtsm=True,
                require_role=True,
            ),
        ),
        max_prefixes4=1_200_000,
        max_prefixes6=300_000,
        blackhole=True,
        default=DefaultRoute.ACCEPT,
    )
    assert peer_of(platform, "private").default is DefaultRoute.REFUSE


def test_sessions_behind_one_port_share_it(platform: Platform) -> None:
    sessions = [session for _, session in platform.sessions_of("ams-e1")]
    assert [session.interface for session in sessions] == ["x-ixp"] * 3
    assert [session.capacity_mbps for session in sessions] == [20_000, 0, 0], "said once"
    assert platform.session_names("ams-e1") == ("route-servers", "route-servers:2", "member")
    assert peer_of(platform, "route-servers").route_server
    assert not peer_of(platform, "member").route_server


def test_a_customer_is_read(platform: Platform) -> None:
    customer = peer_of(platform, "customer")
    assert customer.allowed == (
        Allowed(prefix=ip_network("192.0.2.0/24"), max_length=24),
        Allowed(prefix=ip_network("198.18.0.0/22"), max_length=23),
        Allowed(prefix=ip_network("2001:db8:8000::/36"), max_length=48),
        Allowed(prefix=ip_network("198.19.0.0/20"), max_length=22),
    )
    assert customer.allowed_asns == (64802, 64803)
    assert (customer.max_prefixes4, customer.max_prefixes6) == (50, 50)
    assert customer.blackhole


def test_a_password_may_come_from_a_file(platform: Platform) -> None:
    (session,) = peer_of(platform, "private").sessions
    assert session.password == "another-secret"  # noqa: S105 (of nobody)


def test_limits_fit_the_kind_of_peer_or_what_it_says_of_itself(platform: Platform) -> None:
    limits = {peer.name: (peer.max_prefixes4, peer.max_prefixes6) for peer in platform.peers}
    assert limits["route-servers"] == (500_000, 200_000)
    assert limits["private"] == (200_000, 100_000)
    # 1.2 x 1001, rounded up; it has no IPv6 session, so what it says of that is no matter.
    assert limits["member"] == (1202, 100_000)


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        ("peeringdb", (120, 105)),  # at least a hundred more
        ("{peeringdb: true, ipv4: 7}", (7, 105)),
        ("{ipv6: 9}", (200_000, 9)),
    ],
)
def test_limits_may_be_mixed(said: str, limits: tuple[int, int], directory: Path) -> None:
    path = change(
        directory,
        ("asn: 64702", f"asn: 64702\n    max_prefixes: {said}"),
        ("ours: [203.0.113.9/31]", 'ours: [203.0.113.9/31, "2001:db8:f000:8::1/127"]'),
        ("theirs: [203.0.113.8]", 'theirs: [203.0.113.8, "2001:db8:f000:8::"]'),
    )
    private = peer_of(load_platform(path), "private")
    assert (private.max_prefixes4, private.max_prefixes6) == limits


def test_overrides_are_read(platform: Platform) -> None:
    assert platform.traffic == (
        Override(
            prefix=ip_network("198.51.100.0/24"),
            peer="transit1",
            announce=False,
            until_ms=1_927_584_000_000,
            why="maintenance",
        ),
        Override(kind=PeerKind.IXP, datacenter="ams", prepend=2, no_export=True),
        Override(
            edge="fra-e1",
            med=10,
            communities=((64601, 100), (64601, 1, 2)),
            until_ms=1_927_645_200_000,
        ),
        Override(peer="private", preference=150),
    )


@pytest.mark.parametrize("until", ["2021-01-01", "2021-01-01T00:00:00Z", "'2021-01-01 00:00Z'"])
def test_an_override_that_is_over_is_no_mistake(until: str, directory: Path) -> None:
    path = change(directory, ("preference: 150", f"preference: 150, until: {until}"))
    assert load_platform(path).traffic[3].until_ms == 1_609_459_200_000


def test_caches_are_read(platform: Platform) -> None:
    assert platform.origin_validation == OriginValidation(
        caches=(
            RtrCache(address=platform.loopback6(platform.machine("fra-c1"))),
            RtrCache(address=platform.loopback6(platform.machine("ams-e1"))),
            RtrCache(address=IPv4Address("192.0.2.10")),
            RtrCache(address=IPv6Address("2001:db8:9::1"), port=8282),
        ),
        hold_seconds=20,
    )


def test_a_cache_may_run_on_every_edge(directory: Path) -> None:
    path = change(directory, ("192.0.2.10", '"::1"'))
    assert load_platform(path).origin_validation.caches[2].address == IPv6Address("::1")


def test_tunnels_guards_and_timers_are_read(platform: Platform) -> None:
    assert platform.links == (
        Link(a="fra-e1", b="ams-e1", mtu=9000),
        Link(
            a="fra-e2",
            b="ams-e1",
            kind=LinkKind.WIREGUARD,
            endpoints=(IPv6Address("2001:db8:f0::1"), IPv6Address("2001:db8:f1::1")),
            port=51821,
            mtu=1480,
        ),
    )
    assert platform.guards == Guards(
        announce_floor=2,
        shrink_percent=50,
        headroom_percent=80,
        vantage_floor=3,
        table_floor4=600_000,
        node_prefixes=NodePrefixes.PLACED,
        two_people=(TwoPeople.DRAINS, TwoPeople.OVERRIDES),
    )
    ada, bob = platform.operators
    assert (ada.name, bob.name) == ("ada", "bob")
    assert ada.keys == (make_public_key("ada"),)
    timers = platform.timers
    assert timers.flap_half_life_seconds == 240
    assert timers.drain_wait_seconds == 5
    assert timers.confirm_seconds == 30
    assert [machine.name for machine in platform.machines if machine.external] == ["ams-e9"]


# ---- wrong words ---------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [*ROUTING, *PEERING], ids=lambda bad: bad.name)
def test_a_mistake_is_said_in_its_line(bad: Bad, directory: Path) -> None:
    path = change(directory, (bad.old, bad.new))
    problems = problems_of(lambda: load_platform(path))
    said = [problem for problem in problems if bad.says in str(problem)]
    assert said, [str(problem) for problem in problems]
    marked = [n for n, line in enumerate(path.read_text().splitlines(), 1) if MARK in line]
    lines = {problem.line for problem in said}
    assert set(marked[:1]) <= lines, [str(problem) for problem in problems]


@pytest.mark.parametrize("bad", FILES, ids=lambda bad: bad.name)
def test_a_mistake_in_a_file_that_the_platform_names_is_said(
    bad: BadFile, directory: Path
) -> None:
    (directory / bad.file).write_text(bad.text)
    problems = problems_of(lambda: load_platform(directory / "platform.yaml"))
    (said,) = [problem for problem in problems if bad.says in str(problem)]
    if bad.line >= 0:
        assert (Path(said.file), said.line) == (directory / bad.file, bad.line)
    assert not any("without prefixes" in problem.what for problem in problems)


def test_no_message_has_a_secret_in_it(directory: Path) -> None:
    path = change(directory, ("password: s3cret!", "password: hush hush"))
    (directory / "private.secret").write_text("hush hush\n")
    problems = problems_of(lambda: load_platform(path))
    assert [problem.where for problem in problems] == [
        "peers.transit1.sessions.0.password",
        "peers.private.sessions.0.password_file",
    ]
    assert not any("hush" in str(problem) for problem in problems)


def test_all_mistakes_are_said_at_once(directory: Path) -> None:
    path = change(
        directory,
        ("announce_floor: 2", "announce_floor: 9"),
        ("fra-c1, ams-e1,", "fra-c9, ams-e1,"),
        ("port: 51821", "port: 0"),
        ("prefixes: [192.0.2.0/24,", "prefixes: [192.0.2.0/25, 192.0.2.128/25,"),
        ("prepend: 2", "prepend: 20"),
        ("{peer: private,", "{peer: privat,"),
    )
    (directory / "customer.txt").write_text("x\n198.51.100.0/24\n")
    problems = problems_of(lambda: load_platform(path))
    assert [(Path(problem.file).name, problem.where) for problem in problems] == [
        ("customer.txt", "peers.customer.prefixes_file"),
        ("customer.txt", "peers.customer.prefixes_file"),
        ("platform.yaml", "guards.announce_floor"),
        ("platform.yaml", "rpki.caches.0.address"),
        ("platform.yaml", "backbone.1.port"),
        ("platform.yaml", "peers.customer.prefixes.0"),
        ("platform.yaml", "peers.customer.prefixes.1"),
        ("platform.yaml", "traffic.1.prepend"),
        ("platform.yaml", "traffic.3.peer"),
    ]


def test_what_only_follows_from_an_unreadable_session_is_not_said(directory: Path) -> None:
    # Without it nothing of the floor and of overrides about the private peer fits.
    path = change(directory, ("theirs: [203.0.113.8]", "theirs: 203.0.113.8"))
    text = path.read_text().replace("preference: 150", "edge: fra-e2, preference: 150")
    path.write_text(text)
    problems = problems_of(lambda: load_platform(path))
    assert [problem.where for problem in problems] == ["peers.private.sessions.0.theirs"]


def test_what_only_follows_from_an_unreadable_datacenter_is_not_said(directory: Path) -> None:
    path = change(directory, ("    id: 2\n", ""))
    text = path.read_text().replace("{edge: fra-e1, med", "{datacenter: ams, edge: ams-e1, med")
    path.write_text(text)
    problems = problems_of(lambda: load_platform(path))
    assert [problem.where for problem in problems] == ["datacenters.ams.id"]


def test_machines_with_impossible_ids_may_be_caches(directory: Path) -> None:
    path = change(directory, ("    id: 1\n", f"    id: {10**40}\n"))
    problems = problems_of(lambda: load_platform(path))
    assert "datacenters.fra.id" in {problem.where for problem in problems}


_WORD = re.compile(r"[A-Za-z0-9_./:+-]+")
_NASTY = (
    *("", "~", "0", "-1", "1e999", "true", "[]", "{}", '"\\ud800"', '"\\0"', "9" * 40),
    *("::/0", '"fe80::1%x"', "0001-01-01", "9999-12-31T23:59:59-23:59", ".", "/dev/null"),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_word_in_any_place_is_read_or_refused(data: st.DataObject, directory: Path) -> None:
    text = (HERE / "platform.yaml").read_text()
    words = list(_WORD.finditer(text))
    old = data.draw(st.sampled_from(words))
    new = data.draw(st.sampled_from([*_NASTY, *(word.group() for word in words)]))
    path = directory / "platform.yaml"
    path.write_text(text[: old.start()] + new + text[old.end() :])
    with contextlib.suppress(SpecError):
        platform = load_platform(path)
        assert decode(Platform, encode(platform)) == platform


# ---- words that came another way -----------------------------------------------------------


def test_words_need_no_files(platform: Platform) -> None:
    assert check_platform(decode(Platform, encode(platform))) == ()


def said_of(platform: Platform, **changes: object) -> str:
    changed = dataclasses.replace(platform, **changes)  # type: ignore[arg-type] # by name
    return "\n".join(f"{p.where}: {p.what}" for p in check_platform(changed))


def test_words_that_no_file_could_say_are_refused(platform: Platform) -> None:
    transit = peer_of(platform, "transit1")
    said = said_of(
        platform,
        machines=(
            *platform.machines,
            Machine(name="fra-c7", datacenter="fra", role=Role.CONTROLLER, id=7, external=True),
        ),
        peers=(*platform.peers, dataclasses.replace(transit, route_server=False)),
        traffic=(Override(communities=((1,), (1, 2, 3, 4), (-1, 2)), until_ms=-1),),
    )
    assert "a second peer transit1" in said
    assert "peers.transit1.route_server: route_server belongs to an ixp" in said
    assert "traffic.0.communities.0: 1 is not two or three numbers" in said
    assert "traffic.0.communities.1: 1:2:3:4 is not two or three numbers" in said
    assert "traffic.0.communities.2: -1:2: two numbers are 0..65535 each" in said
    assert "traffic.0.until: -1 is not a time" in said
    assert "fra-c7.external: a controller cannot be external" in said


def test_a_link_fits_the_machines_at_its_ends(platform: Platform) -> None:
    edge = Machine(name="frankfurt-edge3", datacenter="fra", role=Role.EDGE, id=3)
    link = Link(a=edge.name, b="ams-e1", capacity_mbps=-1)
    said = said_of(platform, machines=(*platform.machines, edge), links=(link,))
    assert "backbone.0.link" not in said, "a long name has a short interface"
    assert "backbone.0.capacity: must not be negative" in said


@given(password=st.text(max_size=90))
def test_a_password_that_is_taken_needs_no_escapes(platform: Platform, password: str) -> None:
    transit = peer_of(platform, "transit1")
    session = dataclasses.replace(transit.sessions[0], password=password)
    peer = dataclasses.replace(transit, sessions=(session,))
    said = said_of(platform, peers=(peer, *platform.peers[1:]))
    plain = all("!" <= c <= "~" and c not in "\"'`\\" for c in password)
    assert (said == "") == (plain and len(password) <= 80)


# ---- JSON Schema ---------------------------------------------------------------------------


def test_the_schema_fits_every_word() -> None:
    data = YAML(typ="safe").load((HERE / "platform.yaml").read_text())
    data["traffic"][0]["until"] = "2031-01-31"  # JSON has no dates
    validator = Draft202012Validator(json_schema("platform"))
    assert [error.message for error in validator.iter_errors(data)] == []


def test_a_link_local_address_may_be_on_every_port(directory: Path) -> None:
    """Neighbours on two ports, of one edge or of two, may all call themselves fe80::1."""
    addresses = 'ours: ["fe80::2/64"], theirs: ["fe80::1"]'
    before = "  private:\n    kind: pni\n    asn: 64702\n    sessions:\n"
    more = "".join(
        f"      - {{edge: {edge}, {addresses}, interface: {port}}}\n"
        for edge, port in (("fra-e1", "x-one"), ("fra-e2", "x-one"), ("fra-e2", "x-two"))
    )
    path = change(directory, (before, before + more))
    sessions = [each for _, each in load_platform(path).sessions_of("fra-e2")]
    assert [str(each.ours[0].ip) for each in sessions[:2]] == ["fe80::2", "fe80::2"]
    twice = change(directory, ("interface: x-two", "interface: x-one"))
    (problem,) = problems_of(lambda: load_platform(twice))
    assert "fra-e2 already has a session with fe80::1" in problem.what


def test_a_platform_that_the_store_cannot_take_is_refused_and_the_limit_is_told(
    directory: Path,
) -> None:
    many = (f"45.{n // 256}.{n % 256}.0/24\n" for n in range(24_000))
    (directory / "customer.txt").write_text("".join(many))
    (problem,) = problems_of(lambda: load_platform(directory / "platform.yaml"))
    assert "at most 900000 fit into the store" in problem.what
    assert problem.line == 2
