"""Which members of the store a controller asks, and by what it shows them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pltfrms.api import main
from pltfrms.api.main import follow_members, where_asked
from pltfrms.controller.planning.loop import Controller
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.drivers.ports import Directories
from pltfrms.model.network.topology import Role
from pltfrms.render.etcd import etcd_endpoints
from tests.strategies import make_platform

PLATFORM = make_platform({"ams": 1, "fra": 1, "lon": 1})
ME = PLATFORM.machines_of(Role.CONTROLLER)[0].name
NOBODY = cast("Controller", SimpleNamespace(name=ME, view=SimpleNamespace(platform=None)))
"""A controller that the store has told nothing yet."""


class Client:
    """Notes whom it is to ask."""

    def __init__(self) -> None:
        self.told: list[Sequence[str]] = []
        self.news = asyncio.Event()

    def use(self, endpoints: Sequence[str]) -> None:
        self.told.append(endpoints)
        self.news.set()


def test_what_its_member_gets_while_it_starts_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "_FOLLOW_SECONDS", 0.0)
    directories, client = Directories(config=tmp_path, state=tmp_path), Client()
    asked = where_asked(PLATFORM, ME, directories)
    assert asked[0] == etcd_endpoints(PLATFORM, ME)

    async def story() -> None:
        StoreFiles(tmp_path).begin(PLATFORM.name)  # between the clients and who follows
        following = asyncio.create_task(
            follow_members(NOBODY, [client], asked, PLATFORM, directories)
        )
        await asyncio.wait_for(client.news.wait(), 20)
        client.news.clear()
        for _ in range(10):
            await asyncio.sleep(0)
        assert client.told == [etcd_endpoints(PLATFORM, ME, secure=True)], "once is enough"
        StoreFiles(tmp_path).begin_anew(PLATFORM.name)
        await asyncio.wait_for(client.news.wait(), 20)
        following.cancel()

    asyncio.run(story())
