"""What Patroni is told on one node, from the file of a service to the last word."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.services.service import Service
from pltfrms.planner.instances.instances import instance_spec
from pltfrms.specfile import load_platform, load_service
from pltfrms_postgres.configuration import (
    may_begin,
    names_of,
    replica_configuration,
    tags_of,
)

GOLDEN = Path(__file__).parent / "golden"
EXAMPLE = Path("examples/three-datacenters/platform.yaml")
WRITTEN = Path("tests/specfile/golden/shop-db.yaml")
STORE = {
    "hosts": ["[fd00:0:1:1::ff]:7480", "[fd00:0:1:2::ff]:7480", "[fd00:0:1:3::ff]:7480"],
    "protocol": "https",
    "roots": "/run/store-roots.pem",
    "user": "shop-db",
    "prefix": "/pltfrms-parts/shop-db/",
}


def peers(own: str, **since: str | None) -> dict[str, Any]:
    members = [
        {"name": f"{site}-1.shop-db.example.internal", "datacenter": site, "since": moment}
        for site, moment in since.items()
    ]
    name = f"{own}-1.shop-db.example.internal"
    return {"service": "shop-db", "name": name, "members": members}


def files_at(datacenter: str) -> Mapping[str, str]:
    """Return the files of an instance there, as its agent writes them."""
    platform = load_platform(EXAMPLE)
    spec = load_service(WRITTEN)
    service = Service(spec=spec, id=7, version=1, prefix4=None, prefix6=None)
    allocation = Allocation(
        id=f"shop-db.{datacenter}.1-1",
        service="shop-db",
        version=1,
        datacenter=datacenter,
        replica=1,
        node=f"{datacenter}-n1",
        slot=1,
        number=1,
        reason=Reason.NEW_REPLICA,
    )
    held = replace(allocation, volume=f"shop-db.{datacenter}.1@1")
    return dict(instance_spec(platform, service, held).files)


@pytest.mark.parametrize("site", ["fra", "lon"])
def test_a_replica_has_its_own_name_and_place(site: str) -> None:
    files = files_at(site)
    found = replica_configuration(
        json.loads(files["patroni.json"]),
        json.loads(files["postgres.json"]),
        peers(site, fra=None, ams=None, lon=None),
        STORE,
        "word",
    )
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    assert text == (GOLDEN / f"patroni-{site}.json").read_text()
    assert "${" not in text


def test_a_lab_speaks_plainly_with_its_store() -> None:
    files = files_at("fra")
    plain = STORE | {"protocol": "http"}
    common, policy = json.loads(files["patroni.json"]), json.loads(files["postgres.json"])
    found = replica_configuration(common, policy, peers("fra", fra=None), plain, "word")
    assert "cacert" not in found["etcd3"]


@pytest.mark.parametrize(
    ("promote", "prefer", "tags"),
    [
        ([], [], {"failover_priority": 1}),
        ([], ["fra", "ams"], {"failover_priority": 3}),
        ([], ["ams", "fra"], {"failover_priority": 2}),
        (["ams"], [], {"nofailover": True}),
        (["fra"], ["fra"], {"failover_priority": 2}),
    ],
)
def test_who_may_become_primary(
    promote: list[str], prefer: list[str], tags: dict[str, object]
) -> None:
    assert tags_of({"promote": promote, "prefer": prefer}, "fra") == tags


OLD, NEW, NEXT = "2026-09-21T14:13:20Z", "2026-09-30T14:13:20Z", "2026-09-30T14:23:19Z"


@pytest.mark.parametrize(
    ("since", "begins"),
    [
        ({"fra": None, "ams": None}, True),
        ({"fra": NEW, "ams": None}, True),
        ({"fra": NEW, "ams": NEW}, True),
        ({"fra": NEXT, "ams": NEW}, True),
        ({"fra": OLD, "ams": NEW}, True),
        ({"fra": NEW, "ams": OLD}, False),
        ({"fra": None, "ams": OLD}, False),
        ({"fra": NEW, "ams": None, "lon": OLD}, False),
    ],
)
def test_who_comes_late_makes_no_new_database(
    since: dict[str, str | None], *, begins: bool
) -> None:
    assert may_begin(peers("fra", **since)) is begins


def test_a_replica_shows_all_names_that_lead_to_it() -> None:
    own = {"name": "fra-1.db.acme.internal", "address6": "fd00::1", "address4": None}
    found = names_of({"name": own["name"], "members": [own]})
    assert found == (
        "DNS:fra-1.db.acme.internal",
        "DNS:db.acme.internal",
        "DNS:writer.db.acme.internal",
        "DNS:reader.db.acme.internal",
        "IP:fd00::1",
    )


def test_who_is_no_member_any_more_is_told_nothing() -> None:
    with pytest.raises(KeyError):
        may_begin(peers("lon", fra=None))
