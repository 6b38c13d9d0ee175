"""`balancer show`, `balancer explain`: how machines spread load, and who gets a flow."""

from dataclasses import dataclass, replace
from ipaddress import IPv6Address

import click

from pltfrms.cli.network.balancer_rows import (
    MachineLine,
    heartbeat_words,
    machine_line,
    only_service,
    service_lines,
)
from pltfrms.cli.shared.complete import complete_platform_machines, complete_services
from pltfrms.cli.shared.connect import connect, read_view
from pltfrms.cli.shared.glass_look import ask_balancer, ask_balancer_row, ask_balancers
from pltfrms.cli.shared.options import LazyGroup, Settings, pass_settings
from pltfrms.cli.shared.output import bad, echo, write_json, write_line, write_table
from pltfrms.cli.shared.values import read_endpoint, read_port
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.model.messages.glass import BalancerAnswers
from pltfrms.model.network.topology import Role
from pltfrms.model.running.balancer import BalancerMode, BalancerView
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.service import Service
from pltfrms.planner.balancing.flow_why import (
    TCP,
    UDP,
    Chance,
    Flow,
    flow_path,
    kernel_sentence,
)

_JSON = click.option("--json", "as_json", is_flag=True, help="Write one JSON document.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowExplanation:
    """Who gets a flow that comes by a machine."""

    machine: str
    mode: BalancerMode
    flow: str
    row: int | None
    """None: the director does not decide."""
    chances: tuple[Chance, ...]
    """Who is asked, in this order; computed from the candidates that the machine knows."""
    kernel: tuple[str, ...]
    """Addresses that the kernel of the machine has in the row."""
    sentences: tuple[str, ...]


@click.group(cls=LazyGroup)
def balancer() -> None:
    """Show how load is spread, and who gets a flow.

    Example: pltfrms balancer show fra-e1
    """


@balancer.command("show")
@click.argument("machine", default="", shell_complete=complete_platform_machines)
@click.option(
    "--service",
    default="",
    metavar="NAME",
    shell_complete=complete_services,
    help="Only this service.",
)
@_JSON
@pass_settings
def show_balancers(settings: Settings, machine: str, service: str, *, as_json: bool) -> None:
    """Show the balancer of every machine, or one with its tables.

    Example: pltfrms balancer show fra-e1 --service web
    """
    snapshot = read_view(settings).snapshot
    known = _service(snapshot, service) if service else None
    client = connect(settings)
    check_balances(snapshot, machine)
    if machine:
        view = only_service(ask_balancer(client, machine), known)
        if as_json:
            write_json(view)
        else:
            _show_one(snapshot, view)
        return
    answers = ask_balancers(client)
    views = tuple(only_service(view, known) for view in answers.balancers)
    answers = replace(answers, balancers=views)
    if as_json:
        write_json(answers)
    else:
        _show_all(answers)
    if answers.silent and not answers.balancers:
        raise UnavailableError("no machine shows its balancer")


@balancer.command("explain")
@click.argument("client", metavar="CLIENT:PORT")
@click.argument("service", metavar="SERVICE[:PORT]", shell_complete=complete_services)
@click.option(
    "--from",
    "machine",
    default="",
    metavar="MACHINE",
    shell_complete=complete_platform_machines,
    help="By this machine; by default one edge of each datacenter.",
)
@click.option("--udp", is_flag=True, help="Packets are UDP, not TCP.")
@_JSON
@pass_settings
def explain_flow(
    settings: Settings, client: str, service: str, machine: str, *, udp: bool, as_json: bool
) -> None:
    """Say which instance gets a flow of a client, and why.

    Without :PORT it goes to the first port in the spec of the service. An IPv6 client is
    written [ADDRESS]:PORT.

    Example: pltfrms balancer explain 203.0.113.7:40001 web --from fra-e1
    """
    snapshot = read_view(settings).snapshot
    flow = _flow(snapshot, client, service, protocol=UDP if udp else TCP)
    operator = connect(settings)
    check_balances(snapshot, machine)
    places = ((machine,),) if machine else _edges(snapshot)
    found, silent = [], []
    for names in places:
        try:
            found.append(_explain_by_one(operator, snapshot, names, flow))
        except UnavailableError as error:
            silent.append(str(error))
    if not found:
        raise UnavailableError("; ".join(silent) or "there is no edge of ours")
    if as_json:
        write_json(tuple(found), tuple[FlowExplanation, ...])
    else:
        for each in found:
            _show_explanation(each)
    for why in silent:
        echo(f"{bad('no answer')}: {why}", err=True)


# ---- show ----------------------------------------------------------------------------------


def _show_all(answers: BalancerAnswers) -> None:
    columns = ("machine", "mode", "services", "instances", "heartbeat", "packets")
    lines = [machine_line(view) for view in answers.balancers]
    if lines:
        more = ("second chances", "left to the kernel", "because")
        write_table((*columns, *more), [_cells(line) for line in lines])
    for name, why_not in answers.silent.items():
        echo(f"{bad('no answer')} from {name}: {why_not}", err=True)


def _cells(line: MachineLine) -> tuple[str, ...]:
    counts = (line.packets, line.second_chances, line.left_to_kernel)
    return (
        line.machine,
        line.mode.value,
        str(line.services),
        str(line.instances),
        line.heartbeat,
        *map(str, counts),
        line.because or "-",
    )


def _show_one(snapshot: Snapshot, view: BalancerView) -> None:
    detail = f" ({view.detail})" if view.detail else ""
    echo(f"{view.machine}: {view.mode}{detail}")
    if view.mode is not BalancerMode.DIRECTOR:
        return
    devices = (f"{hook.device} ({hook.kind})" for hook in view.devices)
    write_line(f"heartbeat {heartbeat_words(view)}")
    write_line(f"sees packets of {', '.join(devices) or 'no device'}")
    for table in view.tables:
        service = table.service
        echo(f"\n{service.name} (id {service.id}) {' '.join(map(str, service.prefixes))}")
        columns = ("instance", "node", "address", "state", "weight", "share")
        rows = service_lines(snapshot, table)
        write_table((*columns, "packets", "second chances"), rows)
        write_line(
            f"{table.counts.new_flows} new flows (TCP); {table.counts.no_instance} packets "
            "left to the kernel for want of an instance"
        )
    said = [f"{name} {count}" for name, count in view.totals.items() if count]
    if said:
        write_line(f"\ncounters: {', '.join(said)}")


# ---- explain -------------------------------------------------------------------------------


def _flow(snapshot: Snapshot, client: str, service: str, *, protocol: int) -> Flow:
    address, client_port = read_endpoint(client)
    name, _, port = service.partition(":")
    known = _service(snapshot, name)
    return Flow(
        client=address,
        client_port=client_port,
        service=known,
        port=read_port(port) if port else _first_port(known, protocol),
        protocol=protocol,
    )


def _first_port(service: Service, protocol: int) -> int:
    kind = "udp" if protocol == UDP else "tcp"
    for each in service.spec.ports:
        number, _, said = each.partition("/")
        if said == kind:
            return int(number)
    raise UsageError(
        f"the spec of {service.name} names no {kind} port: say {service.name}:PORT"
    )


def _service(snapshot: Snapshot, name: str) -> Service:
    service = snapshot.services.get(name)
    if service is None:
        known = ", ".join(sorted(snapshot.services)) or "none"
        raise NotFoundError(f"there is no service {name!r}; there are: {known}")
    return service


def check_balances(snapshot: Snapshot, name: str) -> None:
    """Refuse a machine that only is a controller; other names are judged when asked."""
    machines = snapshot.platform.machines
    if any(name == each.name and not each.forwards for each in machines):
        raise NotFoundError(f"{name} is a controller: only edges and nodes have a balancer")


def _edges(snapshot: Snapshot) -> tuple[tuple[str, ...], ...]:
    """Return the edges of each datacenter that has any of ours."""
    platform = snapshot.platform
    by_datacenter = (
        tuple(e.name for e in platform.machines_of(Role.EDGE, dc.name) if not e.external)
        for dc in platform.datacenters
    )
    return tuple(names for names in by_datacenter if names)


def _explain_by_one(
    client: OperatorClient, snapshot: Snapshot, machines: tuple[str, ...], flow: Flow
) -> FlowExplanation:
    """Explain by the first of these machines that answers; UnavailableError if none does."""
    silent = []
    for machine in machines:
        try:
            return _explain(client, snapshot, machine, flow)
        except UnavailableError as error:
            silent.append(str(error))
    raise UnavailableError("; ".join(silent))


def _explain(
    client: OperatorClient, snapshot: Snapshot, machine: str, flow: Flow
) -> FlowExplanation:
    view = ask_balancer(client, machine)
    path = flow_path(snapshot, view, flow)
    sentences = path.sentences
    kernel: tuple[IPv6Address, ...] = ()
    if path.row is not None:
        kernel = ask_balancer_row(client, machine, flow.service.id, path.row)
        sentences = (*sentences, kernel_sentence(path, kernel))
    return FlowExplanation(
        machine=machine,
        mode=view.mode,
        flow=flow.words,
        row=path.row,
        chances=path.chances,
        kernel=tuple(map(str, kernel)),
        sentences=sentences,
    )


def _show_explanation(each: FlowExplanation) -> None:
    write_line(f"{each.machine}: {each.flow}")
    for sentence in each.sentences:
        write_line(f"  {sentence}")
