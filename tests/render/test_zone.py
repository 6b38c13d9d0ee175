"""Zones of services, as name servers read them."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.running.balancer import as_balanced
from pltfrms.model.services.replicas import members_wanted
from pltfrms.model.services.service import Service
from pltfrms.render.instances.zone import Zone, name_servers, render_list, render_zones
from tests.strategies import make_platform, make_service, make_spec

PLATFORM = make_platform({"fra": 1})
WEB = make_service(make_spec("web"), 1)
NS = make_service(replace(make_spec("ns"), ports=("53/udp", "53/tcp")), 2)
OLD = replace(WEB, more=(ip_network("198.51.100.77/32"),))
REVERSE4 = "100.51.198.in-addr.arpa"
REVERSE6 = "0.0.1.0.8.b.d.0.1.0.0.2.ip6.arpa"
CHECKERS = {
    "named-checkzone": ("-k", "fail", "-n", "fail"),
    "nsd-checkzone": (),
    "kzonecheck": ("-o",),
}


def zones(
    *services: Service,
    platform: Platform = PLATFORM,
    revision: int = 4711,
    ns: Sequence[str] = ("ns1.example.net",),
) -> dict[str, str]:
    servers = ns or name_servers(platform, services)
    known = [as_balanced(each, members_wanted(platform, each)) for each in services]
    return {each.name: each.text for each in render_zones(platform, known, revision, servers)}


def rows(text: str) -> list[str]:
    return text.splitlines()[3:]


def with_aggregates(*prefixes: str) -> Platform:
    aggregates = tuple(Aggregate(prefix=ip_network(each)) for each in prefixes)
    return replace(PLATFORM, aggregates=aggregates)


def test_every_service_has_its_addresses_under_its_name() -> None:
    found = zones(OLD, NS)
    assert list(found) == ["test.internal", REVERSE6, REVERSE4]
    assert found["test.internal"].startswith("$ORIGIN test.internal.\n$TTL 3600\n;")
    assert rows(found["test.internal"]) == [
        "@\tIN SOA ns1.example.net. hostmaster.test.internal. 4711 3600 600 2419200 60",
        "@\tIN NS ns1.example.net.",
        "ns\tIN AAAA 2001:db8:100::2",
        "ns\tIN A 198.51.100.2",
        "web\tIN AAAA 2001:db8:100::1",
        "web\tIN A 198.51.100.1",
    ]


def test_every_address_of_a_service_also_an_old_one_leads_back_to_it() -> None:
    found = zones(OLD, NS)
    assert rows(found[REVERSE4])[2:] == [
        "1\tIN PTR web.test.internal.",
        "2\tIN PTR ns.test.internal.",
        "77\tIN PTR web.test.internal.",
    ]
    owner = ".".join("1" + "0" * 19)
    assert rows(found[REVERSE6])[2] == f"{owner}\tIN PTR web.test.internal."


def test_name_servers_are_the_services_that_answer_dns_if_nobody_says_others() -> None:
    text = zones(WEB, NS, ns=())["test.internal"]
    assert "IN SOA ns.test.internal. " in text
    assert "@\tIN NS ns.test.internal.\n" in text
    with pytest.raises(UsageError, match="no service says 53/udp"):
        zones(WEB, ns=())
    with pytest.raises(UsageError, match=r"ns9\.test.internal: is in test.internal, and no"):
        zones(WEB, ns=("ns9.test.internal",))


def test_the_serial_fits_whatever_the_revision_is() -> None:
    assert " 5 3600 " in zones(WEB, revision=2**32 + 5)["test.internal"]


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("203.0.0.0/16", ["0.203.in-addr.arpa"]),
        ("203.0.112.0/23", ["112.0.203.in-addr.arpa", "113.0.203.in-addr.arpa"]),
        ("2001:db8::/32", ["8.b.d.0.1.0.0.2.ip6.arpa"]),
        ("2001:db8:2::/47", [f"{n}.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa" for n in (2, 3)]),
    ],
)
def test_reverse_zones_end_where_labels_do(prefix: str, names: list[str]) -> None:
    assert list(zones(platform=with_aggregates(prefix)))[1:] == names


def test_a_part_beside_its_whole_has_no_zone_that_nobody_would_find() -> None:
    both = with_aggregates("198.51.0.0/16", "198.51.100.0/24")
    found = zones(WEB, platform=both)
    assert list(found)[1:] == ["51.198.in-addr.arpa"]
    assert "1.100\tIN PTR web.test.internal." in found["51.198.in-addr.arpa"]


@pytest.mark.parametrize("checker", CHECKERS)
def test_name_servers_take_the_zones(checker: str, tmp_path: Path) -> None:
    if shutil.which(checker) is None:
        pytest.skip(f"{checker} is not installed")
    for name, text in zones(OLD, NS, ns=()).items():
        file = tmp_path / name
        file.write_text(text)
        words = [checker, *CHECKERS[checker], name, str(file)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_name_that_no_host_may_have_takes_no_other_out_of_its_zone() -> None:
    odd = make_service(make_spec("web-"), 3)
    plain, found = zones(WEB), zones(WEB, odd)
    why = "no host may have a name like that, and servers refuse zones with one"
    assert found["test.internal"] == plain["test.internal"] + f"; web- is left out: {why}\n"
    assert found[REVERSE4] == plain[REVERSE4]
    with pytest.raises(UsageError, match=r"no host may be in acme-\.internal"):
        zones(WEB, platform=replace(PLATFORM, name="acme-"))


NUMBERS = st.lists(st.integers(1, 250), unique=True, max_size=20)


@settings(deadline=None)
@given(NUMBERS)
def test_forward_and_reverse_say_the_same_whatever_the_order(numbers: list[int]) -> None:
    services = [make_service(make_spec(f"s{n}"), n) for n in numbers]
    found = zones(*services)
    assert found == zones(*reversed(services))
    pointed = {tuple(row.split("\tIN PTR ")) for row in rows(found[REVERSE4])[2:]}
    assert pointed == {(str(n), f"s{n}.test.internal.") for n in numbers}
    said = [row for row in rows(found["test.internal"]) if "\tIN A " in row]
    assert len(said) == len(numbers)


def test_nsd_is_told_of_every_zone() -> None:
    found = [Zone(name=each, text="") for each in ("test.internal", REVERSE4)]
    assert render_list(found, "zones") == (
        f"""\
zone:
	name: "test.internal"
	zonefile: "zones/test.internal.zone"
	include-pattern: "pltfrms"
zone:
	name: "{REVERSE4}"
	zonefile: "zones/{REVERSE4}.zone"
	include-pattern: "pltfrms"
"""
    )


def test_a_zone_is_a_word() -> None:
    assert render_zones(PLATFORM, (), 1, ("a.b",))[0] == Zone(
        name="test.internal", text=zones(revision=1, ns=("a.b",))["test.internal"]
    )
