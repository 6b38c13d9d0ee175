"""A volume has one instance at a time, and is deleted only after it was released."""

from dataclasses import replace

from pltfrms.drivers.workload.memory import Behaviour
from pltfrms.drivers.workload.ports import VolumeUse
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.running.state import Phase
from pltfrms.model.running.volumes import Volume, VolumeState, VolumeStatus
from pltfrms.model.services.storage import Storage, VolumeSpec
from tests.agent.bench import ONE, TWO, WEB, Bench, make_target
from tests.simulation.virtual import run_virtual

MIB = 2**20
DATA = VolumeSpec(name="data", path="/srv/data", size_bytes=32 * MIB)
KEPT = replace(WEB, spec=replace(WEB.spec, storage=Storage(volumes=(DATA,))))
VOLUME = Volume(
    id="web.fra.1@1", service="web", datacenter="fra", replica=1, generation=1, node="fra-n1"
)
OLD = replace(ONE, volume=VOLUME.id)
NEW = replace(TWO, volume=VOLUME.id)


def kept(generation: int, *allocations: Allocation, volumes: tuple[Volume, ...]) -> Target:
    target = make_target(generation)
    return replace(target, services=(KEPT,), allocations=allocations, volumes=volumes)


def test_a_successor_waits_until_the_old_instance_has_let_go_of_the_volume() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(kept(1, OLD, volumes=(VOLUME,)))
            assert bench.instances[OLD.id].phase is Phase.READY
            await bench.order(kept(2, NEW, volumes=(VOLUME,)))
            deeds = [(each.what, each.allocation) for each in bench.workload.deeds]
            assert deeds == [("start", OLD.id), ("stop", OLD.id), ("start", NEW.id)]
            assert bench.instances[NEW.id].phase is Phase.READY
            assert bench.instances[NEW.id].restarts == 0

    run_virtual(story())


def test_only_what_was_released_is_deleted_and_what_nobody_knows_is_said() -> None:
    async def story() -> None:
        bench = Bench()
        other = replace(VOLUME, id="web.fra.2@1", replica=2, state=VolumeState.GIVEN_UP)
        bench.workload.disk = {
            each: {"data": VolumeUse(64 * MIB, limited=False)}
            for each in (VOLUME.id, other.id, "db.fra.9@9")
        }
        async with bench.life():
            await bench.order(kept(1, OLD, volumes=(VOLUME, other)), 20)
            assert sorted(bench.workload.disk) == ["db.fra.9@9", VOLUME.id, other.id]
            assert bench.status.volumes == tuple(
                VolumeStatus(volume=each, bytes=64 * MIB)
                for each in sorted(bench.workload.disk)
            )
            said = " ".join(bench.status.problems)
            assert f"volume {VOLUME.id}: data has {64 * MIB} bytes, and may have" in said
            assert "volume db.fra.9@9: it is on the disk and not recorded" in said
            assert f"volume {other.id}" not in said
            gone = replace(other, state=VolumeState.RELEASED)
            await bench.order(kept(2, OLD, volumes=(VOLUME, gone)), 20)
            assert sorted(bench.workload.disk) == ["db.fra.9@9", VOLUME.id]
            assert other.id not in {each.volume for each in bench.status.volumes or ()}

    run_virtual(story())


def told(bench: Bench) -> list[str]:
    assert bench.status.volumes is not None
    return [each.volume for each in bench.status.volumes]


def test_a_volume_that_was_not_measured_yet_is_deleted_too_and_only_then_not_told() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(kept(1, volumes=()), 10)
            assert told(bench) == []
            await bench.order(kept(2, OLD, volumes=(VOLUME,)), 10)
            assert told(bench) == [VOLUME.id]
            gone = replace(VOLUME, state=VolumeState.RELEASED)
            await bench.order(kept(3, OLD, volumes=(gone,)), 10)  # it is in use: it stays
            assert told(bench) == [VOLUME.id]
            assert f"volume {VOLUME.id}" in " ".join(bench.status.problems)
            await bench.order(kept(4, volumes=(gone,)), 40)
            assert bench.workload.disk == {}
            assert told(bench) == []
            assert bench.status.problems == ()

    run_virtual(story())


def test_a_volume_that_was_made_and_is_gone_is_not_made_again() -> None:
    async def story() -> None:
        bench = Bench()
        made = replace(VOLUME, made=True)
        async with bench.life():
            await bench.order(kept(1, OLD, volumes=(made,)), 20)
            assert bench.instances[OLD.id].phase is Phase.BACKOFF
            assert "is not on this disk any more" in bench.instances[OLD.id].failure
            said = " ".join(bench.status.problems)
            assert f"volume {VOLUME.id}: it is not on this disk any more" in said
            assert bench.status.volumes == (VolumeStatus(volume=VOLUME.id, bytes=None),)
            assert bench.workload.disk == {}
            await bench.order(kept(2, OLD, volumes=(VOLUME,)), 60)
            assert bench.instances[OLD.id].phase is Phase.READY
            assert bench.status.volumes == (VolumeStatus(volume=VOLUME.id, bytes=0),)
            assert bench.status.problems == ()

    run_virtual(story())


def test_a_volume_that_is_recorded_as_made_meanwhile_restarts_nothing() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(kept(1, OLD, volumes=(VOLUME,)), 20)
            await bench.order(kept(2, OLD, volumes=(replace(VOLUME, made=True),)), 20)
            assert [each.what for each in bench.workload.deeds] == ["start"]

    run_virtual(story())


def test_a_volume_is_told_soon_after_its_instance_began_however_late_that_is() -> None:
    """From then on it is made no more; what has it before may take long."""

    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(start_ms=60_000)
        async with bench.life():
            await bench.order(kept(1, OLD, volumes=(VOLUME,)), 55)
            assert bench.status.volumes == (VolumeStatus(volume=VOLUME.id, bytes=None),)
            await bench.passes(30)
            assert bench.status.volumes == (VolumeStatus(volume=VOLUME.id, bytes=0),)

    run_virtual(story())


def test_it_is_not_known_what_there_is_while_that_cannot_be_looked_at() -> None:
    """Also to who has just deleted what was released."""

    async def story() -> None:
        bench = Bench()

        async def fail() -> dict[str, dict[str, VolumeUse]]:
            raise OSError("input/output error")

        look = bench.workload.volumes
        bench.workload.volumes = fail  # type: ignore[method-assign]
        made = replace(VOLUME, made=True)
        gone = replace(VOLUME, id="web.fra.2@1", replica=2, state=VolumeState.RELEASED)
        bench.workload.disk = {VOLUME.id: {}, gone.id: {}}
        async with bench.life():
            await bench.order(kept(1, OLD, volumes=(made, gone)), 20)
            assert bench.workload.disk.keys() == {VOLUME.id}
            assert bench.status.volumes is None
            bench.workload.volumes = look  # type: ignore[method-assign]
            await bench.passes(20)
            assert bench.status.volumes == (VolumeStatus(volume=VOLUME.id, bytes=0),)

    run_virtual(story())


def test_who_was_told_nothing_yet_says_nothing_of_volumes() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.disk = {VOLUME.id: {"data": VolumeUse(MIB, limited=False)}}
        async with bench.life():
            await bench.clock.sleep(60)
            assert bench.status.volumes is None
            assert "volume" not in " ".join(bench.status.problems)
            assert VOLUME.id in bench.workload.disk

    run_virtual(story())
