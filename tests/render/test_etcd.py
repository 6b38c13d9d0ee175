"""The store's command line, judged by etcd itself where it can be."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from pltfrms.model.network.topology import ETCD_CLIENT_PORT, ETCD_PEER_PORT, Role
from pltfrms.render.etcd import (
    Beginning,
    StoreFaces,
    etcd_command,
    etcd_endpoints,
    peer_url,
)
from tests.render.platforms import SMALL, machine

THREE = dataclasses.replace(
    SMALL,
    machines=(
        machine("ams-c1", "ams", Role.CONTROLLER, 1),
        machine("fra-c1", "fra", Role.CONTROLLER, 1),
        machine("fra-c2", "fra", Role.CONTROLLER, 2),
    ),
)


def test_a_member_knows_all_members_and_listens_on_its_loopback() -> None:
    members = tuple((each.name, peer_url(THREE, each)) for each in THREE.machines)
    first = Beginning(members=members, word="t", new=True)
    words = etcd_command(THREE, "fra-c1", Path("/var/lib/pltfrms/etcd"), first)
    assert words[0] == "etcd"
    assert "--name=fra-c1" in words
    assert "--data-dir=/var/lib/pltfrms/etcd" in words
    assert "--listen-peer-urls=http://[fd00:77::1:c:1]:2380" in words
    assert "--listen-client-urls=http://[fd00:77::1:c:1]:2379,http://[::1]:2379" in words
    assert (
        "--initial-cluster=ams-c1=http://[fd00:77::2:c:1]:2380,"
        "fra-c1=http://[fd00:77::1:c:1]:2380,fra-c2=http://[fd00:77::1:c:2]:2380"
    ) in words
    assert "--initial-cluster-state=new" in words
    joins = Beginning(members=members)
    assert "--initial-cluster-state=existing" in etcd_command(THREE, "fra-c1", Path(), joins)


def test_by_tls_a_member_believes_its_own_authority_alone_and_nobody_speaks_plainly() -> None:
    faces = StoreFaces(own=Path("/id/store.pem"), trusted=Path("/id/store-roots.pem"))
    members = tuple((each.name, peer_url(THREE, each, secure=True)) for each in THREE.machines)
    first = Beginning(members=members, word="t", new=True)
    words = etcd_command(THREE, "fra-c1", Path("/data"), first, faces)
    assert {
        "--client-cert-auth",
        "--peer-client-cert-auth",
        "--trusted-ca-file=/id/store-roots.pem",
        "--peer-trusted-ca-file=/id/store-roots.pem",
        "--cert-file=/id/store.pem",
        "--peer-key-file=/id/store.pem",
    } <= set(words)
    assert not [word for word in words if "http:" in word]
    assert etcd_endpoints(THREE, "fra-c2", secure=True)[0] == "https://[::1]:2379"


def test_endpoints_are_nearest_first() -> None:
    assert etcd_endpoints(THREE, "fra-c2") == (
        "http://[::1]:2379",
        "http://[fd00:77::1:c:1]:2379",
        "http://[fd00:77::2:c:1]:2379",
    )


@pytest.mark.root
def test_the_manual_s_filter_is_one_for_the_ports_of_the_store_however_often_it_is_loaded(
    tmp_path: Path,
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "identity.md").read_text()
    (rules,) = re.findall(r"^```nft\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert f"{{ {ETCD_CLIENT_PORT}, {ETCD_PEER_PORT} }} drop" in rules
    assert "flush" not in rules, "that deletes our tables as well"
    file = tmp_path / "nftables.conf"
    file.write_text(rules)
    load, show = f"nft -f {file}", "nft list ruleset"
    words = ("unshare", "--net", "sh", "-ec", f"{load}; {show}; {load}; {show}")
    shown = subprocess.run(words, check=True, capture_output=True, timeout=20).stdout
    assert shown.count(b" drop\n") == 2, "once each time"
