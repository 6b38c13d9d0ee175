"""Addresses, rules and sysctls."""

import dataclasses
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from pltfrms.model.addresses import Interface
from pltfrms.model.network.links import LinkKind
from pltfrms.model.running.machine import NetworkState, Rule
from pltfrms.render.kernel import internet_network_state, network_state
from tests.render.platforms import SMALL, SMALL_LAB


def addresses(state: NetworkState) -> dict[str, list[str]]:
    return {device.name: [str(one) for one in device.addresses] for device in state.devices}


def test_an_edge() -> None:
    state = network_state(SMALL, "fra-e1")
    assert addresses(state) == {
        "lo": ["10.1.254.1/32", "fd00:77::1:e:1/128"],
        "fab-a": ["fe80::e:1/64"],
        "fab-b": ["fe80::e:1/64"],
        "bb-ams-e1": ["fe80::1:e:1/64"],
        "x-transit1": ["203.0.113.1/31", "2001:db8:f000:1::1/127"],
    }
    assert state.rules == ()
    sysctls = dict(state.sysctls)
    assert sysctls["net/ipv4/ip_forward"] == "1"
    assert sysctls["net/ipv6/conf/fab-a/addr_gen_mode"] == "1"
    assert "net/ipv6/conf/x-transit1/addr_gen_mode" not in sysctls
    assert len(sysctls) == len(state.sysctls)


def test_the_ends_of_a_backbone_link_differ_even_when_their_ids_do_not() -> None:
    here = addresses(network_state(SMALL, "fra-e1"))["bb-ams-e1"]
    there = addresses(network_state(SMALL, "ams-e1"))["bb-fra-e1"]
    assert here != there


def test_ports_of_links_have_the_mtu_of_the_spec() -> None:
    def mtu(**words: Any) -> int:
        link = dataclasses.replace(SMALL.links[0], **words)
        state = network_state(dataclasses.replace(SMALL, links=(link,)), "fra-e1")
        return next(each.mtu for each in state.devices if each.name == "bb-ams-e1")

    assert mtu() == 0, "1500 is what nobody said"
    assert mtu(mtu=9000) == 9000
    four, six = (
        tuple(ip_address(text) for text in pair)
        for pair in (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2"))
    )
    assert mtu(kind=LinkKind.WIREGUARD, endpoints=four) == 1440
    assert mtu(kind=LinkKind.WIREGUARD, endpoints=six, mtu=1480) == 1400


def test_a_node_looks_into_the_table_of_services_first_and_a_controller_has_none() -> None:
    assert network_state(SMALL, "fra-n1").rules == (Rule(preference=100, table=100),)
    controller = network_state(SMALL, "ams-c1")
    assert controller.rules == ()
    assert "net/ipv4/ip_forward" not in dict(controller.sysctls)


def test_the_emulated_internet_has_the_other_ends() -> None:
    assert addresses(internet_network_state(SMALL, SMALL_LAB, "transit1")) == {
        "to-fra-e1": ["203.0.113.0/31", "2001:db8:f000:1::/127"],
        "to-berlin": ["fe80::f:1/64"],
    }
    assert addresses(internet_network_state(SMALL, SMALL_LAB, "ixp1")) == {
        "lan-ixp1": ["203.0.113.129/25", "2001:db8:f1::1/64"]
    }
    assert addresses(internet_network_state(SMALL, SMALL_LAB, "berlin")) == {
        "lo": ["198.18.1.1/32", "2001:db8:e001::1/128"],
        "to-transit1": ["fe80::f:3/64"],
    }
    with pytest.raises(KeyError, match="nobody"):
        internet_network_state(SMALL, SMALL_LAB, "nobody")


def test_nobody_on_a_lan_has_the_address_of_another() -> None:
    lan: list[Interface] = [session.ours[0] for session in SMALL.peers[1].sessions]
    for name, port in (("ixp1", "lan-ixp1"), ("reading", "lan-ixp1")):
        state = addresses(internet_network_state(SMALL, SMALL_LAB, name))
        lan.append(ip_interface(state[port][0]))
    assert len(set(lan)) == 4
    assert len({one.network for one in lan}) == 1
