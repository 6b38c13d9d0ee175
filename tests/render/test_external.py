"""What others configure for us: the text, and what our own machines have for it."""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest

from pltfrms.model.network.topology import Platform
from pltfrms.render.bird import render_bird
from pltfrms.render.external import render_external, render_external_daemons
from pltfrms.render.kernel import network_state
from tests.render.external import OTHERS
from tests.render.platforms import SMALL

GOLDEN = Path(__file__).parent / "golden" / "ams-x2.frr.conf"
EXTERNAL = ("fra-x3", "ams-x2")


def test_the_text_is_the_golden_one() -> None:
    text = render_external(OTHERS, "ams-x2")
    if os.environ.get("PLTFRMS_GOLDEN") == "write":
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_the_parts_of_the_daemons_are_the_text() -> None:
    parts = render_external_daemons(OTHERS, "fra-x3")
    assert tuple(parts) == ("zebra", "bfdd", "bgpd")
    assert "".join(parts.values()) == render_external(OTHERS, "fra-x3")


@pytest.mark.skipif(shutil.which("vtysh") is None, reason="needs FRR")
@pytest.mark.parametrize("edge", EXTERNAL)
def test_frr_understands_every_line(edge: str, tmp_path: Path) -> None:
    config = tmp_path / "frr.conf"
    config.write_text(render_external(OTHERS, edge))
    command = ("vtysh", "-C", "-f", str(config))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def far_ends(platform: Platform, edge: str) -> set[tuple[str, str, str]]:
    """Return (address, interface, ASN) of the sessions in an external edge's text."""
    text = render_external(platform, edge)
    asns = dict(re.findall(r"neighbor (\S+) remote-as (\d+)", text))
    found = re.findall(r"neighbor (\S+) interface (\S+)", text)
    return {(address, interface, asns[address]) for address, interface in found}


@pytest.mark.parametrize("edge", EXTERNAL)
def test_both_ends_of_every_session_agree(edge: str) -> None:
    home = OTHERS.machine(edge).datacenter
    ours = set()
    for each in OTHERS.managed:
        if each.datacenter == home and each.role.value != "edge":
            addresses = {
                (str(address), device.name)
                for device in network_state(OTHERS, each.name).devices
                for address in device.addresses
            }
            pattern = (
                rf"'edge\.{edge}\.\w+'.*\n  local (\S+) as (\d+);.*\n  neighbor .*%'(\S+)'"
            )
            for local, asn, interface in re.findall(pattern, render_bird(OTHERS, each.name)):
                assert (str(ip_interface(f"{local}/64")), interface) in addresses
                ours.add((local, interface, asn))
    assert ours == far_ends(OTHERS, edge)
    assert len({address for address, _, _ in ours}) == len(ours), "FRR goes by the address"


def test_beside_it_our_edges_tell_of_our_infrastructure() -> None:
    for name, wanted in (("ams-e1", "export where source = RTS_STATIC && "), ("ams-n1", "")):
        text = render_bird(OTHERS, name)
        for pair in ("0.0.0.0/0, 10.0.0.0/8", "::/0, fd00:77::/48"):
            assert f"{wanted}net ~ [ {pair} ]" in text
    assert "route fd00:77::/48 unreachable;" in render_bird(OTHERS, "ams-e1")


def test_it_hears_of_no_instance_and_tells_of_none() -> None:
    text = render_bird(OTHERS, "ams-n1")
    ours, theirs = (
        text.split(f"protocol bgp 'edge.{edge}.a'")[1].split("protocol bgp")[0]
        for edge in ("ams-e1", "ams-x2")
    )
    assert "export where is_ours() && !is_instance();" in theirs
    assert "is_instance_of_others" not in theirs
    assert "add paths off;" in theirs
    assert "ipv6" not in ours, "as the template says"


def test_without_it_nothing_differs() -> None:
    alone = replace(OTHERS, machines=OTHERS.managed)
    for name in ("ams-e1", "ams-n1", "ams-c1"):
        text = render_bird(alone, name)
        assert "~ [ ::/0" not in text
        assert "fe80::1:" not in text
        assert "ams-x2" not in text
    assert "fe80::1:" not in str(network_state(alone, "ams-n1"))
    assert "fe80::1:" in str(network_state(OTHERS, "ams-n1"))


def test_our_edges_do_not_speak_with_it() -> None:
    assert "ams-x2" not in render_bird(OTHERS, "ams-e1")
    assert "fe80::1:" not in str(network_state(OTHERS, "ams-e1"))


def test_no_such_machine() -> None:
    with pytest.raises(KeyError):
        render_external(SMALL, "nobody")
