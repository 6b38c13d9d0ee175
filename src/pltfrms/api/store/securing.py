"""How a machine comes by what members of the store show: from a controller that has it.

They agree on it without the store: who has not got it cannot ask there.
"""

import asyncio
import ssl
from pathlib import Path

import structlog

from pltfrms.codec import decode
from pltfrms.drivers.failover import SilentError
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.store_files import StoreFiles, follows
from pltfrms.drivers.identity.tls import client_context
from pltfrms.drivers.kept_http import HttpQuestion, KeptHttp, TlsEnd
from pltfrms.errors import UsageError
from pltfrms.model.identity.words import StoreAuthority, machine_server_name
from pltfrms.model.network.topology import Machine, Platform, Role, controller_url
from pltfrms.planner.identity.access import why_unsigned

_QUESTION = HttpQuestion("GET", "/v1/identity/store")
_ASK_SECONDS = 1.5
_GOOD = 200

_log = structlog.get_logger(__name__)


async def take_authority(
    platform: Platform, machine: str, state: Path, *, has_data: bool
) -> bool:
    """Take what another controller of a platform has; return whether that was done.

    Who has data takes what was made after his own, by a recovery; who has none, any. Only who
    shows that it is a controller is believed.
    """
    identity, files = IdentityFile(state), StoreFiles(state)
    if not identity.there:
        return False
    try:
        said = await _said(platform, machine, identity)
        own = files.text()
        newer = [each for each in said if follows(each, own)]
        if not own or (not has_data and own not in said):
            newer += [each for each in said if each]
        if not newer:
            return False
        files.keep(newer[0])
    except (UsageError, OSError) as error:
        _log.warning("what the store's members show is not known", why=str(error))
        return False
    _log.info("what the store's members show is another controller's from now on")
    return True


async def _said(platform: Platform, machine: str, identity: IdentityFile) -> list[str]:
    context = client_context(identity, lambda shown: why_unsigned(shown.issuer, platform))
    others = (e for e in platform.machines_of(Role.CONTROLLER) if e.name != machine)
    asked = (_ask(platform, each, context) for each in others)
    return list(await asyncio.gather(*asked))


async def _ask(platform: Platform, controller: Machine, context: ssl.SSLContext) -> str:
    """Return what a controller has; empty: nothing, or it does not answer."""
    end = TlsEnd(context, machine_server_name(platform.name, controller.name))
    url = controller_url(platform, controller, secure=True)
    line = KeptHttp(url, _ASK_SECONDS, tls=end)
    try:
        status, body = await line.ask(_QUESTION, _ASK_SECONDS)
        return decode(StoreAuthority, body).authority if status == _GOOD else ""
    except (SilentError, UsageError):
        return ""
    finally:
        await line.close()
