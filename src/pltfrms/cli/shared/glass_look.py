"""Questions to the looking glasses of our machines, through the controllers."""

from ipaddress import IPv6Address
from urllib.parse import quote

from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.model.messages.glass import BalancerAnswers, RouteAnswers, SessionText
from pltfrms.model.running.balancer import BalancerView


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


def ask_balancers(client: OperatorClient) -> BalancerAnswers:
    """Return the balancers of all edges and nodes, and who is silent."""
    return client.get("/v1/balancers", {}, BalancerAnswers)


def ask_balancer(client: OperatorClient, machine: str) -> BalancerView:
    """Return the balancer of a machine; UnavailableError if it is silent."""
    return client.get(f"/v1/balancers/{quote(machine, safe='')}", {}, BalancerView)


def ask_balancer_row(
    client: OperatorClient, machine: str, service_id: int, row: int
) -> tuple[IPv6Address, ...]:
    """Return what the kernel of a machine has in a row; UnavailableError if it is silent."""
    path = f"/v1/balancers/{quote(machine, safe='')}/row"
    parameters = {"service": str(service_id), "row": str(row)}
    return client.get(path, parameters, tuple[IPv6Address, ...])


def merged(*answers: RouteAnswers) -> RouteAnswers:
    """Return several answers as one, by machine."""
    routes = [route for answer in answers for route in answer.routes]
    machines = list(dict.fromkeys(route.machine for route in routes))
    silent = {name: why for answer in answers for name, why in answer.silent.items()}
    ordered = sorted(routes, key=lambda route: machines.index(route.machine))
    return RouteAnswers(routes=tuple(ordered), silent=silent)
