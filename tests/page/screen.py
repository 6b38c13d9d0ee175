"""One window of a browser, and what it has to complain about."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from pltfrms.cli.platform.ui import PAGE

_LAUNCH_MS = 120_000
PATIENCE_MS = 60_000
"""Of a machine that does much else."""
Scheme = Literal["light", "dark"]
WIDE, NARROW = (1320, 900), (390, 800)
_AS_ROOT = ("--no-sandbox",)
"""Chromium refuses to run as root with its sandbox."""


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start Debian's Chromium; until it ends, asyncio has a loop in this thread."""
    program = shutil.which("chromium")
    if not (PAGE / "index.html").is_file():
        pytest.skip("the page is not built: there is no Node.js here")
    assert program, "Debian's chromium is missing: make setup"
    extra = _AS_ROOT if os.geteuid() == 0 else ()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--disable-gpu", "--disable-dev-shm-usage", *extra],
            timeout=_LAUNCH_MS,
        )
        yield browser
        browser.close()


@dataclass
class Screen:
    """What a browser shows of a page."""

    page: Page
    folder: Path
    """Of pictures; `PLTFRMS_SCREENS` names another one, which stays."""
    origin: str
    home: str = ""
    """Where the page is."""
    said: list[str] = field(default_factory=list)
    """Errors and warnings of the page."""
    elsewhere: list[str] = field(default_factory=list)
    """What was asked of other hosts."""

    @classmethod
    @contextmanager
    def of(cls, browser: Browser, address: str, folder: Path) -> Iterator["Screen"]:
        """Open the page; in the end it must have said nothing, and asked nobody else."""
        width, height = WIDE
        context = browser.new_context(viewport={"width": width, "height": height})
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        origin = "{0.scheme}://{0.netloc}/".format(urlsplit(address))
        named = os.environ.get("PLTFRMS_SCREENS")
        screen = cls(page, Path(named) if named else folder, origin)
        page.on("console", lambda message: screen.said.append(message.text))
        page.on("pageerror", lambda error: screen.said.append(str(error)))
        page.on("request", lambda request: screen._look(request.url))
        page.goto(address, wait_until="domcontentloaded")
        screen.home = page.url
        page.wait_for_selector("main")
        yield screen
        context.close()
        assert screen.said == []
        assert screen.elsewhere == []

    def _look(self, url: str) -> None:
        if not url.startswith((self.origin, "data:")):
            self.elsewhere.append(url)

    def box(self, name: str) -> Locator:
        """Return what the picture has for a machine, a peer or a datacenter."""
        return self.page.locator(f'svg a[data-id="{name}"]')

    def shows(self, name: str, *states: str) -> None:
        """Wait until it is drawn in one of these states."""
        kinds = ("a.{}[data-id='{}']", "g.{} > a[data-id='{}']")
        named = (kind.format(state, name) for state in states for kind in kinds)
        self.page.wait_for_selector(",".join(f"svg {each}" for each in named))

    def shoot(self, name: str, *, whole: bool = False) -> None:
        """Keep what is seen now as a picture."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=whole, timeout=PATIENCE_MS)

    def size(self, size: tuple[int, int], scheme: Scheme = "light") -> None:
        """Be so large, and so bright."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.emulate_media(color_scheme=scheme)
