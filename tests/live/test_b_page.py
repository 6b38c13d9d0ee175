"""What the page shows of a lab while things fail in it, and are done from it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from bench.rig import Rig
from pltfrms.cli.platform.ui import PAGE
from pltfrms.cli.shared.page_actions import PageActions
from pltfrms.cli.shared.page_server import PageServer
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.model.network.topology import Role
from tests.page.screen import Screen, browsing
from tests.page.stand_in import serving

pytestmark = [pytest.mark.live, pytest.mark.calm, pytest.mark.root, pytest.mark.timeout(300)]

CUT_OFF = "ams-c1"
SOON_SECONDS = 30
"""Of a machine that does much else; what it takes is printed."""
_LOOKS_MAX = 3
_BAD_LINKS = "count => document.querySelectorAll('.link.bad').length === count"


@pytest.fixture(scope="module")
def screen(lab: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """The page, which asks all controllers but those of ams."""
    endpoints = lab.client.controller_endpoints()
    machines = (each for each in lab.client.machines() if each.running)
    names = [each.name for each in machines if Role.CONTROLLER in each.roles]
    asked = dict(zip(names, endpoints, strict=True))
    asked.pop(CUT_OFF, None)
    numbers, client = count(1), OperatorClient(list(asked.values()))

    def secret() -> str:
        return f"word{next(numbers)}"

    server = PageServer(PAGE, client, 0, secret, PageActions(client, "ada@laptop", secret))
    folder: Path = tmp_path_factory.mktemp("screens")
    with (
        serving(server),
        browsing() as browser,
        Screen.of(browser, server.address, folder) as found,
    ):
        yield found


@pytest.fixture
def until(capsys: pytest.CaptureFixture[str]) -> "Until":
    return Until(capsys)


class Until:
    """Measures how long it takes until something is seen, from when a fault is real."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._real_at = 0.0

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds = time.monotonic() - max(began, self._real_at)
        self.say(f"{what}: {seconds:.1f} s")
        assert seconds < SOON_SECONDS

    def real(self, *done: str) -> None:
        """Count from now: the lab has done this, and says how long that took it."""
        self._real_at = time.monotonic()
        self.say("; ".join(done))

    def say(self, words: str | None) -> None:
        """Show a figure, or what the page says of it."""
        with self._capsys.disabled():
            print(f"\n{words}", end="")  # noqa: T201 - it is for who runs the test


def test_an_edge_that_dies_is_seen(healthy: Rig, screen: Screen, until: Until) -> None:
    screen.shows("fra-e1", "good")
    with until("a silent edge is bad"):
        until.real(*healthy.client.fault("edge/fra-e1", "silent"))
        with until("a silent edge is not good any more"):
            screen.shows("fra-e1", "unknown", "bad")
        until.say(screen.box("fra-e1").locator("title").text_content())
        screen.shows("fra-e1", "bad")
    until.say(screen.box("fra-e1").locator("title").text_content())
    screen.shows("fra", "good")
    screen.shoot("edge")
    healthy.client.heal(None)
    screen.shows("fra-e1", "good")


def test_a_link_and_a_fabric_that_are_cut_are_seen(
    healthy: Rig, screen: Screen, until: Until
) -> None:
    """The link between datacenters whose controllers still have the store."""
    screen.page.wait_for_function(_BAD_LINKS, arg=0)
    screen.shows("lon/a", "good")
    with until("a cut link is bad"):
        until.real(*healthy.client.fault("link/lon-e1--fra-e2", "cut"))
        screen.page.wait_for_function(_BAD_LINKS, arg=1)
    with until("a cut fabric is bad"):
        until.real(*healthy.client.fault("fabric/lon/a", "cut"))
        screen.shows("lon/a", "bad")
    screen.shows("lon/b", "good")
    healthy.client.heal(None)
    screen.page.wait_for_function(_BAD_LINKS, arg=0)
    screen.shows("lon/a", "good")


def test_a_datacenter_that_is_cut_off_is_not_known_and_never_bad(
    healthy: Rig, screen: Screen, until: Until
) -> None:
    screen.shows("ams-n1", "good")
    links = [each.name for each in healthy.snapshot().platform.links if "ams-" in each.name]
    with until("a datacenter without links is not known"):
        for link in links:
            until.real(*healthy.client.fault(f"link/{link}", "cut"))
        with until("its first link is bad"):
            screen.page.wait_for_selector(".link.bad")
        screen.shows("ams-n1", "unknown")
        screen.page.wait_for_selector("g.unknown > .site")
    until.say(screen.box("ams").locator("title").text_content())
    screen.page.wait_for_function(_BAD_LINKS, arg=len(links))
    assert screen.page.locator('svg a.bad[data-id^="ams-"]').count() == 0
    screen.shoot("datacenter")
    healthy.client.heal(None)
    screen.shows("ams-n1", "good")


def test_what_is_done_from_the_page_is_done(healthy: Rig, screen: Screen, until: Until) -> None:
    page = screen.page
    page.goto(f"{screen.home}#/lon-e1")
    with until("a drain from the page, looked at and done"):
        _act(screen, "drain", "new optics")
    with until("and drawn after that"):
        screen.shows("lon-e1", "planned")
    assert "new optics" in page.locator("header").inner_text()
    screen.shoot("drained")
    _act(screen, "undrain", "they are in")
    screen.shows("lon-e1", "good")
    page.goto(f"{screen.home}#/web")
    healthy.cli("service", "restart", "web", "--yes")
    with until("a rollout, after its command"):
        page.get_by_role("button", name="abort…").wait_for()
    screen.shoot("rollout")
    _act(screen, "abort", "seen enough")
    page.get_by_role("button", name="abort…").wait_for(state="detached")
    audit = healthy.cli("audit", "list", "--json")
    assert all(why in audit for why in ("new optics", "they are in", "seen enough"))
    page.get_by_role("button", name="logs").click()
    page.locator("option").first.wait_for(state="attached")


def _act(screen: Screen, verb: str, why: str) -> None:
    """Do something, and look again if it would do something else by then."""
    said = ""
    for _ in range(_LOOKS_MAX):
        screen.page.get_by_role("button", name=f"{verb}…", exact=True).click()
        dialog = screen.page.locator("dialog[open]")
        dialog.get_by_label("Why").fill(why)
        dialog.get_by_role("button", name=f"{verb} now").click()
        dialog.get_by_role("status").wait_for()
        said = dialog.get_by_role("status").inner_text()
        dialog.get_by_role("button", name="close").click()
        if "done, revision" in said:
            return
        screen.said.clear()  # a browser says of each refusal that there was one
    raise AssertionError(said)
