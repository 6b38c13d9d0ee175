"""Ask a service at its own address, as its clients do."""

import errno
import socket
from ipaddress import ip_address
from typing import Final

from pltfrms.drivers.workload.probes.kinds.asking import ask_each
from pltfrms.errors import UnavailableError
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.service import Probe

_NO_WAY: Final = frozenset((errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


class FromHere:
    """`ports.Asker` of this machine."""

    async def ask(self, address: Address, probe: Probe) -> ProbeAnswer:
        """See `ports.Asker`; it takes the probe's `timeout_ms` at most."""
        try:
            _look_for_a_way(address, probe.port)
            kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
            with socket.socket(_FAMILIES[address.version], kind) as connection:
                (answer,) = await ask_each([connection], probe, [address])
        except OSError as error:
            what = f"no way to {address} from here: {error.strerror}"
            raise UnavailableError(what) from error
        return answer


def _look_for_a_way(address: Address, port: int) -> None:
    """Raise OSError if the kernel knows no route or has no address of ours for it.

    Nothing is sent. A route that refuses is one: somebody has said that nobody is there.
    """
    with socket.socket(_FAMILIES[address.version], socket.SOCK_DGRAM) as trial:
        try:
            trial.connect((str(address), port))
        except OSError as error:
            if error.errno in _NO_WAY:
                raise
            return
        if ip_address(trial.getsockname()[0]).is_unspecified:
            raise OSError(errno.EADDRNOTAVAIL, "no address of this family")
