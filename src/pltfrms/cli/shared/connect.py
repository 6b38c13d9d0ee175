"""From the global options to somebody who answers: the chosen lab, and its controllers."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from pltfrms.cli.shared.contexts import Context, chosen_context, kept_login, login_place
from pltfrms.cli.shared.options import Settings
from pltfrms.cli.shared.output import echo
from pltfrms.cli.shared.routing import asking_user
from pltfrms.drivers.controlplane.asking import is_secure
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.drivers.ports import Directories
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.lab.client.client import LabClient, LabInfo, find_lab, running_labs
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import Snapshot

if TYPE_CHECKING:
    from pltfrms.drivers.controlplane.agent_client import HttpControlPlane

_PLACES = Directories()
LOCAL_CONTROLLER = "unix:/run/pltfrms/controller.sock"
"""Of a controller on this very machine."""


def current_lab(settings: Settings) -> LabClient:
    """Return the lab that is meant.

    Raises:
        PltfrmsError: none runs, there is none of that name, or several run and none is named.
    """
    return find_lab(settings.lab or None)


def own_lab(settings: Settings) -> LabClient:
    """Return the lab that is named, else the only one that was started as this command is.

    Raises:
        PltfrmsError: none runs, there is none of that name, or none is named and not exactly
            one is of the same person in the same directory; says which there are.
    """
    labs = running_labs()
    own = [each.name for each in labs if each.started_by == starter()]
    if settings.lab or not labs:
        return current_lab(settings)
    if len(own) == 1:
        return find_lab(own[0])
    first = "several labs were started here" if own else "no lab that runs was started here"
    lines = [f"  pltfrms lab down --lab {each.name}    {_origin(each)}" for each in labs]
    raise UsageError("\n".join((f"{first} by {asking_user()}; say which one:", *lines)))


def starter() -> str:
    """Return who starts a lab, and where; the same for the same person in the same place."""
    try:
        return f"{asking_user()} in {Path.cwd()}"
    except FileNotFoundError:  # the directory was removed meanwhile
        return asking_user()


def _origin(lab: LabInfo) -> str:
    by = f", started by {lab.started_by}" if lab.started_by else ""
    return f"of {lab.directory}{by}"


def controller_endpoints(settings: Settings) -> tuple[str, ...]:
    """Return where controllers answer.

    Those that are named, of the lab that is named, of the context, of the lab that runs, else
    this machine's own.

    Raises:
        UnavailableError: it is a lab, and none of its controllers has power.
        NotFoundError: there is no such context.
    """
    if settings.controllers:
        return settings.controllers
    context = chosen_context(settings)
    if context:
        return context.controllers
    if settings.lab or running_labs():
        lab = current_lab(settings)
        return lab.controller_endpoints() or _no_power(lab)
    return (LOCAL_CONTROLLER,)


def _no_power(lab: LabClient) -> NoReturn:
    raise UnavailableError(
        f"no controller of the lab {lab.name} has power; give one power with: "
        f"pltfrms lab boot controller/NAME --lab {lab.name}"
    )


def place_of(settings: Settings) -> str:
    """Return where a login belongs that is made, or used, with these settings."""
    return login_place(settings, current_lab(settings).name if is_lab(settings) else "")


def is_lab(settings: Settings) -> bool:
    """Return whether it is a lab that is meant, and not a platform of machines."""
    named = settings.controllers or chosen_context(settings)
    return not named and bool(settings.lab or running_labs())


def connect(settings: Settings, *, known: bool = True) -> OperatorClient:
    """Return a client of the controllers that are meant; closed when the command ends.

    Unless `known` is false it shows who has logged in here, if anybody has.
    """
    endpoints = controller_endpoints(settings)
    make = partial(OperatorClient)
    if any(map(is_secure, endpoints)):
        make = partial(make, tls=_shake_hands(chosen_context(settings)))
    login = kept_login(place_of(settings)) if known else None
    if login:
        make = partial(make, token=login.token)
    client = make(
        endpoints,
        settings.timeout_ms / 1000,
        lambda line: echo(line, err=True),
    )
    context = click.get_current_context(silent=True)
    if context:
        context.call_on_close(client.close)
    return client


def vantage_plane(settings: Settings) -> "HttpControlPlane":
    """Return what tells all controllers that are meant what a vantage point sees.

    By TLS it trusts what the context says, and shows no certificate.
    """
    from pltfrms.drivers.controlplane.agent_client import (  # noqa: PLC0415 - asyncio: 20 ms
        HttpControlPlane,
    )
    from pltfrms.drivers.identity.tls import trusting_context  # noqa: PLC0415 - few need it
    from pltfrms.drivers.kept_http import TlsEnd  # noqa: PLC0415 - as above
    from pltfrms.model.identity.words import controllers_server_name  # noqa: PLC0415 - as above

    endpoints, chosen = controller_endpoints(settings), chosen_context(settings)
    secure = [each for each in endpoints if is_secure(each)]
    if secure and not (chosen and chosen.roots):
        raise UsageError(
            f"{secure[0]} wants to be verified: make a context with roots: pltfrms context add"
        )
    ends = {}
    if chosen and secure:
        end = TlsEnd(trusting_context(chosen.roots), controllers_server_name(chosen.platform))
        ends = dict.fromkeys(secure, end)
    return HttpControlPlane(endpoints, ends)


def _shake_hands(chosen: Context | None) -> Callable[[socket.socket], socket.socket]:
    """Return what makes TLS of a connection: of a context, else as this machine.

    UsageError if it has not joined.
    """
    from pltfrms.drivers.identity.files import IdentityFile  # noqa: PLC0415 - few need it
    from pltfrms.drivers.identity.tls import (  # noqa: PLC0415 - as above
        client_context,
        trusting_context,
    )
    from pltfrms.model.identity.words import controllers_server_name  # noqa: PLC0415 - as above
    from pltfrms.planner.identity.access import why_unsigned  # noqa: PLC0415 - as above

    if chosen and chosen.roots:
        context, platform_name = trusting_context(chosen.roots), chosen.platform
    else:
        file = IdentityFile(_PLACES.state)
        platform_name, platform = file.read().platform, _known_platform()
        context = client_context(file, lambda shown: why_unsigned(shown.issuer, platform))
    name = controllers_server_name(platform_name)
    return lambda connection: context.wrap_socket(connection, server_hostname=name)


def _known_platform() -> Platform:
    """Return the platform as this machine knows it: of its target, else of its file.

    Raises:
        PltfrmsError: it knows none; who answers could be anybody.
    """
    from pltfrms.cli.shared.specs import load_platform  # noqa: PLC0415 - few need it
    from pltfrms.codec import decode  # noqa: PLC0415 - as above
    from pltfrms.model.running.plan import Target  # noqa: PLC0415 - as above

    try:
        return decode(Target, (_PLACES.state / "target.json").read_bytes()).platform
    except (OSError, UsageError):
        return load_platform(_PLACES.config / "platform.yaml")


def look(settings: Settings, *, as_json: bool) -> Snapshot:
    """Return the whole state, as scripts or people want it; see `read_view`.

    While the store does not answer, people see what was known last. Scripts see no warning:
    for them, the contact of machines is unknown then.
    """
    view = read_view(settings)
    return view.snapshot if as_json else view.last_known


def read_view(settings: Settings) -> SnapshotView:
    """Return the whole state; say on stderr if it is old because the store is away."""
    view = connect(settings).snapshot()
    if view.stale_seconds:
        echo(
            f"warning: the store does not answer for {view.stale_seconds:.0f} s; "
            "this is what was known last",
            err=True,
        )
    return view
