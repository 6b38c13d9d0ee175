"""A real browser that looks at the built page, served as `pltfrms ui` serves it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from pltfrms.cli.platform.ui import PAGE
from pltfrms.cli.shared.page_actions import PageActions
from pltfrms.cli.shared.page_server import PageServer
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from tests.page.screen import Screen, browsing
from tests.page.stand_in import StandIn, serving


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def controller() -> Iterator[StandIn]:
    stand_in = StandIn()
    stand_in.start()
    yield stand_in
    stand_in.stop()


@pytest.fixture
def server(controller: StandIn) -> Iterator[PageServer]:
    numbers = count(1)
    client = OperatorClient((f"http://127.0.0.1:{controller.port}",), patience_seconds=0.0)

    def secret() -> str:
        return f"word{next(numbers)}"

    found = PageServer(PAGE, client, 0, secret, PageActions(client, "ada@laptop", secret))
    with serving(found):
        yield found


@pytest.fixture
def screen(chromium: Browser, server: PageServer, tmp_path: Path) -> Iterator[Screen]:
    """The page as it was opened; in the end nothing may have gone wrong in it."""
    with Screen.of(chromium, server.address, tmp_path) as found:
        yield found
