"""What a machine says again word for word is not read again."""

from pltfrms.api.routes.beats import HeartbeatReader
from pltfrms.codec import encode
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.running.state import MachineStatus
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate


def test_a_heartbeat_is_read_again_only_if_it_says_something_else() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(5)
        reader = HeartbeatReader(cluster.operations)
        same = encode(Heartbeat(status=MachineStatus(machine="fra-n1")))
        other = encode(Heartbeat(status=MachineStatus(machine="fra-n1", problems=("one",))))
        first = reader.read(same, "fra-n1")
        assert reader.read(same, "fra-n1") is first
        assert reader.read(other, "fra-n1").status.problems == ("one",)
        assert reader.read(same, "fra-n1") == first

    simulate(story)


def test_nothing_is_remembered_of_who_is_no_machine_of_the_platform() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(5)
        reader = HeartbeatReader(cluster.operations)
        text = encode(Heartbeat(status=MachineStatus(machine="fra-n1")))
        for stranger in ("", "fra-n99"):
            assert reader.read(text, stranger) is not reader.read(text, stranger)

    simulate(story)
