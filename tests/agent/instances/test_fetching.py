"""What a start has to wait for is said, disturbs nobody, and is not the instance's own time."""

import asyncio
from dataclasses import replace

from pltfrms.drivers.workload.memory import Behaviour
from pltfrms.model.running.state import Phase
from pltfrms.model.services.container import Container
from tests.agent.bench import ONE, TWO, WEB, Bench, devices, make_target
from tests.simulation.virtual import run_virtual


def test_an_instance_whose_image_comes_late_is_not_restarted_for_that() -> None:
    async def story() -> None:
        bench = Bench()
        image = asyncio.Event()
        await_image = Behaviour(image=image, healthy_after_ms=2000)
        bench.workload.behave = lambda spec: (
            await_image if spec.allocation == TWO.id else Behaviour()
        )
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO), 60)
            assert await devices(bench.network) == {"i1"}
            status = bench.instances[TWO.id]
            assert (status.phase, status.detail) == (Phase.STARTING, "fetches its image")
            image.set()
            await bench.passes(3)
            status = bench.instances[TWO.id]
            assert (status.phase, status.restarts) == (Phase.READY, 0)
            assert await devices(bench.network) == {"i1", "i2"}

    run_virtual(story())


def test_nobody_waits_for_the_image_of_who_is_not_wanted_any_more() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(image=asyncio.Event())
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO), 1)
            await bench.order(make_target(2, ONE), 1)
            assert set(bench.instances) == {ONE.id}
            assert bench.workload.deeds == []

    run_virtual(story())


def test_an_image_stays_here_as_long_as_anything_may_be_started_from_it() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(refuses="of its command")
        run = replace(WEB.spec.run, container=Container(image="a.example/web@sha256:0a"))
        boxed = replace(WEB, spec=replace(WEB.spec, run=run))
        async with bench.life():
            await bench.passes(20)
            assert bench.workload.images_kept is None
            await bench.order(replace(make_target(1, ONE), services=(boxed,)), 20)
            assert bench.instances[ONE.id].phase is Phase.BACKOFF
            assert bench.workload.images_kept == {"a.example/web@sha256:0a"}

    run_virtual(story())
