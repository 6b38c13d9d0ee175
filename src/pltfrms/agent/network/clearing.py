"""Take from a machine's kernel what agents have made: for a machine that leaves.

Everything else that ends leaves it, so that traffic goes on. Not taken: settings under
/proc/sys, whose older values nobody knows, and addresses of ports, through which whoever asks
for this may be here.
"""

import contextlib
import os
from collections.abc import Iterator

import structlog

from pltfrms.drivers.balancer.ports import Balancer
from pltfrms.drivers.kernel.tables.routes import OUR_PROTOS
from pltfrms.drivers.tool import ToolFailedError, run_tool
from pltfrms.drivers.wireguard.kernel import TUNNEL_TABLE
from pltfrms.drivers.workload.ports import Workload
from pltfrms.errors import UnavailableError
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.tunnels import tunnels_of
from pltfrms.model.running.machine import PROTO_BIRD
from pltfrms.render.egress import EGRESS_TABLE
from pltfrms.render.filter import FILTER_TABLE
from pltfrms.render.kernel import network_state
from pltfrms.render.roles import ROLES_TABLE

_TABLES = (FILTER_TABLE, EGRESS_TABLE, ROLES_TABLE, TUNNEL_TABLE)
_log = structlog.get_logger()


async def clear_kernel(balancer: Balancer, platform: Platform, machine: str) -> None:
    """Take it away, and go on where the kernel refuses: it may be gone already."""
    with contextlib.suppress(UnavailableError):
        await balancer.stop()
    for table in _TABLES:
        # The first line is for when there is none to be deleted.
        await _try("nft", "-f", "-", text=f"table {table}\ndelete table {table}\n")
    for family in ("-4", "-6"):
        text = "".join(f"{line}\n" for line in routing_lines(platform, machine))
        await _try("ip", family, "-force", "-batch", "-", text=text)
    text = "".join(f"{line}\n" for line in device_lines(platform, machine))
    await _try("ip", "-force", "-batch", "-", text=text)


async def end_adopted(workload: Workload) -> None:
    """Take the addresses of what others start here away, and what leads elsewhere from them."""
    for each in (await workload.running()).values():
        if each.pid != os.getpid():
            continue
        try:
            await workload.stop(each, 0)
        except UnavailableError as error:
            _log.warning("not cleared", allocation=each.allocation, why=str(error))


def routing_lines(platform: Platform, machine: str) -> Iterator[str]:
    """Yield lines of `ip -batch` for a family; what is not there is refused."""
    for proto in (PROTO_BIRD, *OUR_PROTOS):
        yield f"route flush table all proto {proto}"
    for rule in network_state(platform, machine).rules:
        yield f"rule del pref {rule.preference} lookup {rule.table}"


def device_lines(platform: Platform, machine: str) -> Iterator[str]:
    """Yield lines of `ip -batch`, as above, for devices and addresses."""
    state = network_state(platform, machine)
    for tunnel in tunnels_of(platform, machine):
        yield f"link del {tunnel.interface}"
    for device in state.devices:
        if device.name == "lo":
            yield from (f"address del {address} dev lo" for address in device.addresses)


async def _try(*command: str, text: str) -> None:
    try:
        await run_tool(*command, text=text)
    except ToolFailedError as error:
        _log.info("not cleared", tool=command[0], why=error.said)
    except UnavailableError as error:
        _log.warning("not cleared", tool=command[0], why=str(error))
