"""Errors of an edge reach who is meant, whatever addresses its ports have: real packets.

Three namespaces in a row: a server behind a narrow line, the edge, and the internet.
"""

import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from pltfrms.model.network.topology import Platform
from pltfrms.render.filter import render_filter
from tests.namespaces import in_machine
from tests.render.filter_world import EDGE, PLATFORM
from tests.render.platforms import TRANSIT

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("nft") is None, reason="asks nft"),
]
SERVICES = ("198.51.100.7", "2001:db8:100::7")
THEIRS = ("198.18.1.1", "2001:db8:e001::1")
LOOPBACKS = ("10.1.254.1", "fd00:77::1:e:1")
"""Of the edge: all that it has, and nobody outside can answer them."""


def sh(line: str, text: str = "") -> str:
    words = ("sh", "-c", line)
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    assert not done.returncode, (line, done.stderr)
    return done.stdout


def link_local_alone() -> Platform:
    ours, theirs = (ip_interface("fe80::1/64"),), (ip_address("fe80::2"),)
    line = replace(TRANSIT.sessions[0], ours=ours, theirs=theirs)
    return replace(PLATFORM, peers=(replace(TRANSIT, sessions=(line,)),), links=())


def wire() -> None:
    sh("mount -t tmpfs none /run && mkdir /run/netns")  # seen by nobody else
    for name, port in (("inst", "fab-a"), ("net", "x-transit1")):
        sh(f"ip netns add {name}")
        sh(f"ip link add {port} type veth peer eth0 netns {name}")
        for where in ("", f"ip netns exec {name} "):
            sh(f"{where}ip link set lo up")
            sh(f"{where}sysctl -qw net.ipv4.conf.all.rp_filter=0")
            sh(f"{where}sysctl -qw net.ipv6.conf.all.accept_dad=0")
        sh(f"ip link set {port} up && ip address add fe80::1/64 dev {port} nodad")
        sh(f"ip -n {name} link set eth0 up")
        sh(f"ip -n {name} address add fe80::2/64 dev eth0 nodad")
        sh(f"ip -n {name} route add 0.0.0.0/0 via inet6 fe80::1 dev eth0")
        sh(f"ip -n {name} route add ::/0 via fe80::1 dev eth0")
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
    for name, port, addresses in (
        ("inst", "fab-a", SERVICES),
        ("net", "x-transit1", THEIRS),
    ):
        for address in addresses:
            sh(f"ip -n {name} address add {address} dev lo")
            six = ":" in address
            via = "via" if six else "via inet6"
            sh(f"ip {'-6' if six else ''} route add {address} {via} fe80::2 dev {port}")
    for address in LOOPBACKS:
        sh(f"ip address add {address} dev lo")
    sh("ip link set fab-a mtu 1300")


def pinged(source: str, target: str) -> str:
    words = ("ip", "netns", "exec", "net", "ping", "-n", "-c1", "-W1", "-M", "do", "-s", "1350")
    line = (*words, "-I", source, target)
    return subprocess.run(line, capture_output=True, text=True, check=False).stdout


async def scenario() -> None:
    wire()
    sh("nft -f -", render_filter(link_local_alone(), EDGE))
    for source, target, said, seen in (
        (THEIRS[0], SERVICES[0], "Frag needed", "From 198.51.100.0 "),
        (THEIRS[1], SERVICES[1], "Packet too big", "From 2001:db8:100:: "),
    ):
        answer = pinged(source, target)
        assert said in answer, answer
        assert seen in answer, answer


def test_who_sends_too_much_hears_of_it_over_a_port_with_a_link_local_address_alone() -> None:
    in_machine(scenario)
