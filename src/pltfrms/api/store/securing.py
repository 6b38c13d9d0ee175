"""How a machine comes by what members of the store show: from a controller that has it.

They agree on it without the store: who has not got it cannot ask there.
"""

import asyncio
import ssl
from pathlib import Path
from typing import TypeVar

import structlog

from pltfrms.codec import decode
from pltfrms.drivers.failover import SilentError
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.store_files import StoreFiles, follows
from pltfrms.drivers.identity.tls import client_context
from pltfrms.drivers.kept_http import HttpQuestion, KeptHttp, TlsEnd
from pltfrms.drivers.sealing import KeyFile
from pltfrms.errors import UsageError
from pltfrms.model.identity.words import StoreAuthority, machine_server_name
from pltfrms.model.messages.secrets import SecretsKeyring
from pltfrms.model.network.topology import Machine, Platform, Role, controller_url
from pltfrms.planner.identity.access import why_unsigned

_STORE = "/v1/identity/store"
_SECRETS = "/v1/identity/secrets"
_ASK_SECONDS = 1.5
_GOOD = 200

_T = TypeVar("_T")
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
        answers = await _said(platform, machine, identity, _STORE, StoreAuthority)
        said = [each.authority for each in answers]
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


async def take_secret_keys(
    platform: Platform, machine: str, state: Path, file: KeyFile
) -> None:
    """Take the keys of secrets that other controllers have; who has no identity gets none."""
    identity = IdentityFile(state)
    if not identity.there:
        return
    try:
        answers = await _said(platform, machine, identity, _SECRETS, SecretsKeyring)
        known = file.read()
        file.add(key for each in answers for key in each.keys if key not in known)
    except (UsageError, OSError) as error:
        _log.warning("the keys of secrets cannot be had", why=str(error))


async def _said(
    platform: Platform, machine: str, identity: IdentityFile, path: str, kind: type[_T]
) -> list[_T]:
    """Return what those of the other controllers answer that do."""
    context = client_context(identity, lambda shown: why_unsigned(shown.issuer, platform))
    others = (e for e in platform.machines_of(Role.CONTROLLER) if e.name != machine)
    asked = (_ask(platform, each, context, path, kind) for each in others)
    return [each for each in await asyncio.gather(*asked) if each is not None]


async def _ask(
    platform: Platform, controller: Machine, context: ssl.SSLContext, path: str, kind: type[_T]
) -> _T | None:
    """Return what a controller answers; None: it does not, or nothing that can be read."""
    end = TlsEnd(context, machine_server_name(platform.name, controller.name))
    url = controller_url(platform, controller, secure=True)
    line = KeptHttp(url, _ASK_SECONDS, tls=end)
    try:
        status, body = await line.ask(HttpQuestion("GET", path), _ASK_SECONDS)
        return decode(kind, body) if status == _GOOD else None
    except (SilentError, UsageError):
        return None
    finally:
        await line.close()
