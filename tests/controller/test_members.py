"""The first controller has the members of the store be the controllers of the platform."""

from dataclasses import replace

import pytest

from pltfrms.api.metrics import Metrics
from pltfrms.codec import encode
from pltfrms.controller.records.state import seat_key
from pltfrms.drivers.store.ports import Put
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.store import SeatRequest
from pltfrms.model.network.topology import Role
from pltfrms.render.etcd import peer_url
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import PLATFORM, simulate


def ask(cluster: Cluster, machine: str, lost: str = "") -> None:
    value = encode(SeatRequest(machine=machine, lost=lost))
    cluster.state.commit((Put(key=seat_key(machine), value=value),), ())


def problems(cluster: Cluster) -> str:
    state = cluster.operations.controller.upkeep
    assert state
    assert state.state
    return "; ".join(state.state.problems)


def test_a_member_that_lost_its_disk_is_removed_and_added_anew() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(15)
        assert problems(cluster) == ""
        members, name = cluster.members, "lon-c1"
        members.silent.add(name)
        await cluster.clock.sleep(15)
        assert "1 of 3 members of the store is gone (lon-c1" in problems(cluster)
        assert "one more failure stops changes" in problems(cluster)
        text = Metrics(cluster.operations.controller).text().decode()
        assert "pltfrms_store_spare_members 0.0" in text
        assert members.done == [], "it may come back with its data"
        ask(cluster, name, f"number of {name}")
        peer = members.peers[name]
        await cluster.until(lambda: f"add {peer}" in members.done, 30)
        await cluster.clock.sleep(10)
        members.begin(peer, name)
        await cluster.until(lambda: f"promote {name}" in members.done, 30)
        await cluster.clock.sleep(15)
        assert members.done == [f"remove {name}", f"add {peer}", f"promote {name}"]
        assert problems(cluster) == ""
        told = [e.what for e in await cluster.operations.events(0, 0, 1000)]
        for word in ("member gone", "member removed", "member is being added"):
            assert told.count(word) == 1
        assert told.count("member has a vote") == 1

    simulate(story)


@pytest.mark.parametrize("secure", [False, True])
def test_a_controller_that_leaves_the_platform_leaves_the_store(*, secure: bool) -> None:
    fewer = tuple(machine for machine in PLATFORM.machines if machine.name != "ams-c1")

    async def story(cluster: Cluster) -> None:
        if secure:
            peers = cluster.members.peers
            peers.update({name: url.replace("http:", "https:") for name, url in peers.items()})
        await cluster.clock.sleep(15)
        cluster.agents["ams-c1"].cut = True  # it is switched off
        platform = replace(cluster.platform, machines=fewer)
        await cluster.operations.apply(Change(platform=platform))
        await cluster.until(lambda: "remove ams-c1" in cluster.members.done, 30)
        await cluster.clock.sleep(15)
        changed = [d for d in cluster.members.done if not d.startswith("compact")]
        assert "remove ams-c1" in changed
        assert set(cluster.state.room.file_bytes) == {"fra-c1", "lon-c1"}
        await cluster.operations.apply(Change(platform=cluster.platform))
        await cluster.clock.sleep(15)
        assert "ams-c1 is a controller of the platform, and its etcd does" in problems(cluster)
        ask(cluster, "ams-c1")
        (machine,) = (m for m in PLATFORM.machines_of(Role.CONTROLLER) if m.name == "ams-c1")
        peer = peer_url(PLATFORM, machine, secure=secure)
        await cluster.until(lambda: f"add {peer}" in cluster.members.done, 30)
        cluster.members.begin(peer, "ams-c1")
        await cluster.until(lambda: "promote ams-c1" in cluster.members.done, 30)

    simulate(story)
