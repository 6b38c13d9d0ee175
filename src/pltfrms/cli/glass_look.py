"""Questions to the looking glasses of our machines, through the controllers."""

from urllib.parse import quote

from pltfrms.drivers.controlplane import OperatorClient
from pltfrms.model.glass import RouteAnswers, SessionText


def ask_routes(
    client: OperatorClient,
    prefix: str,
    *,
    machine: str = "",
    session: str = "",
    exported: str = "",
    filtered: bool = False,
) -> RouteAnswers:
    """Return the paths to the longest match, on one machine or on every edge.

    `session` and `exported` are names of BIRD's, such as `peer.transit1.ipv4`: only what came
    over it, or what leaves over it. `filtered` asks for what was refused.
    """
    wanted = {
        "prefix": prefix,
        "machine": machine,
        "session": session,
        "exported": exported,
        "filtered": "true" if filtered else "",
    }
    parameters = {name: value for name, value in wanted.items() if value}
    return client.get("/v1/routes", parameters, RouteAnswers)


def ask_session(client: OperatorClient, machine: str, name: str) -> SessionText:
    """Return what a machine's BIRD says of a session; UnavailableError if it is silent."""
    path = f"/v1/sessions/{quote(machine, safe='')}/{quote(name, safe='')}"
    return client.get(path, {}, SessionText)


def merged(*answers: RouteAnswers) -> RouteAnswers:
    """Return several answers as one, by machine."""
    routes = [route for answer in answers for route in answer.routes]
    machines = list(dict.fromkeys(route.machine for route in routes))
    silent = {name: why for answer in answers for name, why in answer.silent.items()}
    ordered = sorted(routes, key=lambda route: machines.index(route.machine))
    return RouteAnswers(routes=tuple(ordered), silent=silent)
