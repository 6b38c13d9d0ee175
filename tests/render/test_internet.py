"""The networks around us: what each daemon says to the texts that are written for it."""

import subprocess
from pathlib import Path

import pytest

from pltfrms.model.network.lab import Daemon
from pltfrms.render.emulated.internet import render_companions, render_internet
from pltfrms.specfile import load_lab, load_platform

EXAMPLE = Path("examples/mixed-internet")
PLATFORM = load_platform(EXAMPLE / "platform.yaml")
LAB = load_lab(EXAMPLE / "lab.yaml", PLATFORM)
CHECKS = {
    Daemon.BIRD: ("bird", "-p", "-c"),
    Daemon.FRR: ("/usr/lib/frr/bgpd", "-C", "-f"),
    Daemon.GOBGP: ("gobgpd", "-d", "-f"),
    Daemon.OPENBGPD: ("/usr/sbin/bgpd", "-n", "-f"),
}


def complaints(command: tuple[str, ...], text: str, directory: Path) -> str:
    file = directory / "text.conf"
    file.write_text(text)
    file.chmod(0o600)
    done = subprocess.run(
        [*command, str(file)], capture_output=True, text=True, check=False, timeout=20
    )
    said = done.stdout + done.stderr
    return said if done.returncode or "No such command" in said else ""


@pytest.mark.parametrize("machine", LAB.machines)
def test_each_daemon_accepts_its_text(machine: str, tmp_path: Path) -> None:
    text = render_internet(PLATFORM, LAB, machine)
    daemon = LAB.daemon(machine)
    if daemon is Daemon.FRR:
        pytest.skip("FRR reads only as its own user: see the lab's tests")
    assert complaints(CHECKS[daemon], text, tmp_path) == ""


def test_every_daemon_is_in_the_example() -> None:
    assert {LAB.daemon(machine) for machine in LAB.machines} == set(Daemon)


def test_only_frr_has_daemons_beside_the_one_that_speaks_bgp() -> None:
    companions = {name: render_companions(PLATFORM, LAB, name) for name in LAB.machines}
    assert {name for name, texts in companions.items() if texts} == {"transit1", "pni1"}
    assert set(companions["transit1"]) == {"zebra", "bfdd"}
    assert "set src" not in companions["transit1"]["zebra"]
    assert "set src 198.18.13.1" in companions["pni1"]["zebra"]


def test_each_guard_of_a_session_is_written_for_each_daemon() -> None:
    guards = {
        "transit1": ("password an-example-only", "ttl-security hops 1", "local-role provider"),
        "ixp1": ('tcp md5sig password "an-example-only"', "ttl-security yes", "policy rs"),
        "ixp2": ('auth-password = "an-example-only"', "ttl-min = 255", "route-server-client"),
        "customer1": ("ttl security on;", "local role customer;", "bfd on;"),
    }
    for machine, words in guards.items():
        text = render_internet(PLATFORM, LAB, machine)
        assert [word for word in words if word not in text] == [], machine


def test_a_customer_of_ours_buys_and_a_private_peer_does_not() -> None:
    customer = render_internet(PLATFORM, LAB, "customer1")
    assert "taken(100, 10)" in customer
    assert "local role customer" in customer
    member = render_internet(PLATFORM, LAB, "member1")
    assert "taken(210, 10)" in member
    assert "local role peer" in member
    assert 'interface "lan-ixp1"' in member


def test_who_may_blackhole_what() -> None:
    transit = render_internet(PLATFORM, LAB, "transit2")
    assert "drop_for([ 198.51.100.0/24{32,32} ])" in transit
    assert "drop_for([ 2001:db8:e002::/48{128,128} ])" in transit, "of its other customer"
    peer = transit.partition("protocol bgp 'peer.transit1'")[2]
    assert "drop_for" not in peer


def test_a_machine_that_is_not_there_is_said() -> None:
    with pytest.raises(KeyError, match="nobody"):
        render_companions(PLATFORM, LAB, "nobody")
