"""Take `docs/page.png`: the page while a datacenter of the lab that runs is cut off.

    sudo .venv/bin/python scripts/picture.py

After `make up`; PLTFRMS_LAB names one of several labs. Look at what it has made.
"""

import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from pltfrms.cli.platform.ui import PAGE  # noqa: E402
from pltfrms.cli.shared.page_actions import PageActions  # noqa: E402
from pltfrms.cli.shared.page_server import PageServer  # noqa: E402
from pltfrms.drivers.controlplane.operator_client import OperatorClient  # noqa: E402
from pltfrms.lab.client.client import LabClient, find_lab  # noqa: E402
from pltfrms.model.network.topology import Role  # noqa: E402
from pltfrms.specfile import load_platform  # noqa: E402
from tests.page.screen import Screen, browsing  # noqa: E402
from tests.page.stand_in import serving  # noqa: E402

CUT_OFF = "ams"


def main() -> None:
    """Serve the page from the other datacenters, and shoot what it shows."""
    lab = find_lab(None)
    controllers = [each for each in lab.machines() if Role.CONTROLLER in each.roles]
    ends = zip(controllers, lab.controller_endpoints(), strict=True)
    client = OperatorClient([end for each, end in ends if each.datacenter != CUT_OFF])
    actions = PageActions(client, "operator", secrets.token_hex)
    server = PageServer(PAGE, client, 0, secrets.token_urlsafe, actions)
    with (
        serving(server),
        browsing() as browser,
        Screen.of(browser, server.address, ROOT / "docs") as screen,
    ):
        shoot(lab, screen)


def shoot(lab: LabClient, screen: Screen) -> None:
    """Wait until clients are served, cut the datacenter off, and heal it afterwards."""
    screen.page.wait_for_selector('svg a.good[data-id^="from/"]')
    platform = load_platform(Path(lab.info().directory) / "platform.yaml")
    links = [each.name for each in platform.links if f"{CUT_OFF}-" in each.name]
    try:
        for link in links:
            lab.fault(f"link/{link}", "cut")
        screen.page.wait_for_selector("g.unknown > .site")
        screen.page.wait_for_function(
            "count => document.querySelectorAll('.link.bad').length === count", arg=len(links)
        )
        screen.size((1320, 760))
        screen.shoot("page")
    finally:
        for link in links:
            lab.heal(f"link/{link}")


main()
