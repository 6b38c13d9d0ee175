"""The text of a service says the same service again."""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.services.container import Adopted, Behind, Container
from pltfrms.model.services.hooks import HookMoment, InstanceHook
from pltfrms.model.services.names import ZoneUse
from pltfrms.model.services.outgoing import Egress, EgressMode, EgressRule
from pltfrms.model.services.parts import StoreUse
from pltfrms.model.services.probes import ProbeDns, ProbeHttp, ProbeTls, ProbeUdp
from pltfrms.model.services.secrets import Generate, OnChange, SecretUse
from pltfrms.model.services.service import (
    Capacity,
    Compare,
    PortClients,
    Probe,
    ProbeKind,
    RoleSpec,
    RolloutSpec,
    Run,
    Scale,
    ServiceSpec,
    Stage,
)
from pltfrms.model.services.storage import (
    STOP_GRACE_MS,
    HostPath,
    IoLimits,
    Storage,
    VolumeSpec,
)
from pltfrms.specfile import load_service, service_text
from tests.strategies import make_spec

EXAMPLES = Path(__file__).parents[2] / "examples"
SHAPES = Path(__file__).parents[1] / "shapes"


BOX = Container(
    image=f"localhost:5000/shop/we-b__x.y@sha256:{'0a' * 32}",
    command=("/serve", "-x"),
    args=("a b", "${pltfrms.node}"),
    user="1000:1000",
    read_only=False,
    capabilities=("CHOWN", "NET_BIND_SERVICE"),
    ulimits=(("nofile", 1024), ("core", 0)),
)


LIMITS = (PortClients(port="53/udp", clients=("internet", "service:a-1", "::/0")),)


def said_again(spec: ServiceSpec) -> ServiceSpec:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "service.yaml"
        path.write_text(service_text(spec))
        return load_service(path)


FILES = [
    path
    for path in (*EXAMPLES.rglob("*.yaml"), *SHAPES.rglob("*.yaml"))
    if any(line.startswith("service:") for line in path.read_text().splitlines())
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_text_of_every_service_here_says_the_same_service(path: Path) -> None:
    spec = load_service(path)
    assert said_again(spec) == spec


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ('{\n "a": 1\n}\n', True),
        ("a\n\n  b\n", True),
        (" a\nb\n", False),
        ("a\n \nb\n", False),
    ],
)
def test_rows_that_are_indented_say_the_same(text: str, *, block: bool) -> None:
    spec = make_spec("web", 1)
    spec = replace(spec, run=replace(spec.run, files=(("f", text),)))
    assert ("f: |" in service_text(spec)) is block
    assert said_again(spec) == spec


def test_every_field_is_written() -> None:
    spec = replace(
        make_spec("web", 3, cpu=1.25, max_per_node=4),
        counts=(("lon", 5),),
        weight=7,
        drain_ms=1500,
        group="shop",
        labels=(("cost/center", "7"), ("team", "no")),
        capacity=Capacity(requests=200, load=900),
        scale=Scale(min=2, max=6, cpu=0.7, connections=150),
        ports=("80/tcp", "53/udp"),
        rollout=RolloutSpec(
            stages=(
                Stage(datacenters=("fra",), replicas=1),
                Stage(datacenters=("fra", "ams")),
            ),
            bake_ms=0,
            parallel=2,
            compare=Compare(
                path="/x", port=81, interval_ms=20, samples=50, errors_percent=1, times=1.5
            ),
            untried=True,
        ),
        aggregates=("198.51.100.0/24",),
        egress=Egress(
            mode=EgressMode.OWN,
            allow=(
                EgressRule(prefix=ip_network("198.18.0.0/15")),
                EgressRule(prefix=ip_network("2001:db8::/32"), protocol="tcp", port=443),
                EgressRule(protocol="udp", port=53),
            ),
        ),
        probe=Probe(
            kind=ProbeKind.EXEC,
            command=("test", "-e", "x y"),
            interval_ms=1000,
            timeout_ms=250,
            rise=3,
            fall=4,
            grace_ms=60_000,
        ),
    )
    assert said_again(spec) == spec
    boxed = replace(spec, run=replace(spec.run, process=(), container=BOX))
    assert said_again(boxed) == boxed
    moved = replace(spec, aggregates=(), addresses=(ip_address("198.51.100.9"),))
    assert said_again(moved) == moved
    named = replace(spec, counts=(), datacenters=("fra", "ams"))
    assert said_again(named) == named
    total = replace(named, datacenters=(), per_datacenter=0, total=9, scale=None)
    assert said_again(total) == total


def test_batch_is_written() -> None:
    spec = replace(make_spec(), batch=True)
    assert said_again(spec) == spec


def test_who_may_ask_is_written() -> None:
    spec = replace(make_spec(), ports=("80/tcp", "53/udp"), clients=LIMITS)
    assert said_again(spec) == spec


def test_volumes_and_paths_are_written() -> None:
    data = VolumeSpec(name="data", path="/srv/a b", size_bytes=3 * 2**30, owner="9:9")
    more = replace(data, name="log", path="/srv/log", owner="", lost_after_ms=1500)
    paths = (HostPath(source="/etc/ssl", path="/ssl"),)
    storage = Storage(volumes=(data, more), host_paths=paths)
    spec = make_spec()
    boxed = replace(spec.run, process=(), container=BOX)
    spec = replace(spec, run=boxed, storage=storage)
    assert said_again(spec) == spec


def test_what_replicas_with_volumes_have_beside_them_is_written() -> None:
    data = VolumeSpec(name="data", path="/srv/data", size_bytes=2**30)
    hook = InstanceHook(moment=HookMoment.JOIN, command=("a", "b c"), timeout_ms=9000)
    spec = make_spec()
    for grace_ms in (5000, 600_000, STOP_GRACE_MS):
        run = replace(spec.run, peers_signal="USR1", stop_grace_ms=grace_ms)
        keeping = replace(spec, run=run, storage=Storage(volumes=(data,)), hooks=(hook,))
        assert said_again(keeping) == keeping
        usual = grace_ms == STOP_GRACE_MS
        assert ("stop_grace" in service_text(keeping)) is not usual


def test_a_part_of_the_store_is_written() -> None:
    spec = make_spec()
    uses = (SecretUse(name="word", file="word"),)
    run = replace(spec.run, secrets=uses, store=StoreUse(secret=uses[0].name))
    assert said_again(replace(spec, run=run)).run == run


@pytest.mark.parametrize("unit", ["", "unbound.service", r"dns-a\x2db@0.service"])
def test_what_others_start_is_written(unit: str) -> None:
    run = Run(cpu=0.0, memory_bytes=0, adopted=Adopted(unit=unit))
    spec = replace(make_spec("dns"), run=run, nodes=("fra-n1", "ams-n2"))
    assert said_again(spec) == spec


def test_where_others_start_it_is_written() -> None:
    both = (ip_address("192.168.122.10"), ip_address("fd00:122::10"))
    for nodes, places in (
        ((), (Behind(addresses=both),)),
        (
            ("ams-n2", "fra-n1"),
            (
                Behind(addresses=both[:1], node="ams-n2"),
                Behind(addresses=both, node="fra-n1"),
            ),
        ),
    ):
        run = Run(cpu=0.0, memory_bytes=0, adopted=Adopted(), elsewhere=places)
        spec = replace(make_spec("dns"), run=run, nodes=nodes)
        assert said_again(spec) == spec


def test_secrets_are_written_without_what_only_the_store_says() -> None:
    uses = (
        SecretUse(name="db", variable="DB"),
        SecretUse(name="tls", file="a key", mode=0o40, on_change=OnChange.NOTHING),
        SecretUse(name="ca", file="ca", on_change=OnChange.SIGNAL_USR1),
        SecretUse(name="word", file="word", generate=Generate.PASSWORD),
    )
    pinned = (replace(uses[0], version=7), *uses[1:])
    wanted, stored = (
        replace(make_spec(), run=replace(make_spec().run, secrets=each))
        for each in (uses, pinned)
    )
    assert said_again(wanted) == wanted
    assert said_again(stored) == wanted
    login = SecretUse(name="login", registry=True, on_change=OnChange.NOTHING)
    boxed = replace(wanted.run, process=(), container=BOX, secrets=(login,))
    assert said_again(replace(wanted, run=boxed)).run.secrets == (login,)


def test_limits_of_disks_are_written() -> None:
    for io in (IoLimits(write_bytes=20 << 20), IoLimits(read_bytes=1 << 30, reads=5, writes=7)):
        spec = replace(make_spec(), run=replace(make_spec().run, io=io))
        assert said_again(spec) == spec


def test_zones_are_written() -> None:
    for use in (
        ZoneUse(reload=("sh", "-c", "a && b"), servers=("ns2.example.net",)),
        ZoneUse(reload=("true",)),
    ):
        spec = replace(make_spec(), run=replace(make_spec().run, zones=use))
        assert said_again(spec) == spec


def test_files_that_are_no_text_and_modes_are_written() -> None:
    run = replace(
        make_spec().run,
        files=(("a b.sh", "x"),),
        binary=(("logo", "iVBORwA="),),
        modes=(("a b.sh", 0o755), ("logo", 0o600)),
    )
    spec = replace(make_spec(), run=run)
    assert said_again(spec) == spec


SIGNS = st.one_of(st.characters(exclude_categories=("Cs", "Cc")), st.sampled_from("\n\t #:|"))
TEXTS = st.text(SIGNS, max_size=60)


@given(TEXTS, TEXTS)
def test_no_text_is_changed_by_being_written(one: str, other: str) -> None:
    run = replace(
        make_spec().run,
        process=("serve", one),
        files=(("a.conf", one + "\n" + other), ("b.conf", other + "\n")),
        environment=(("KEY", other),),
    )
    spec = replace(make_spec(), run=run)
    assert said_again(spec) == spec


PROBES = (
    Probe(kind=ProbeKind.GRPC, port=50051),
    Probe(kind=ProbeKind.GRPC, port=50051, grpc_service="shop.Cart", grace_max_ms=90_000),
    Probe(kind=ProbeKind.DNS, port=53, dns=ProbeDns(name="example.net", type="SOA")),
    Probe(
        kind=ProbeKind.DNS, port=5353, dns=ProbeDns(name="a.example.net.", answer="192.0.2.1")
    ),
    Probe(kind=ProbeKind.DNS, port=53, dns=ProbeDns(name=".", type="NS", rcode="REFUSED")),
    Probe(kind=ProbeKind.UDP, port=1, udp=ProbeUdp(send="\x01\xff: {", expect="x")),
    Probe(kind=ProbeKind.UDP, port=1, udp=ProbeUdp(send="x")),
    Probe(kind=ProbeKind.TCP, port=443, tls=ProbeTls(), only_announces=True),
    Probe(kind=ProbeKind.TCP, port=443, tls=ProbeTls(unverified=True)),
    Probe(
        kind=ProbeKind.HTTP,
        port=443,
        path="/ready?a=b,c",
        http=ProbeHttp(
            host="www.example.net", headers=(("X-A", "b: {c}"),), status=(200, 404), body="ok"
        ),
        tls=ProbeTls(name="www.example.net", ca="-----BEGIN\nabc=\n-----END\n"),
    ),
)


@pytest.mark.parametrize("epoch", ["", "X-Epoch", ".timeline"])
def test_roles_are_said_again(epoch: str) -> None:
    asked = Probe(
        kind=ProbeKind.HTTP,
        port=8008,
        path="/primary",
        interval_ms=200,
        rise=1,
        fall=1,
        only_announces=True,
        epoch=epoch,
    )
    writer = RoleSpec(name="writer", probe=asked, ports=("5432/tcp",))
    plain = replace(asked, interval_ms=500, timeout_ms=1000, fall=3, epoch="")
    reader = RoleSpec(name="reader", probe=plain, shared=True)
    spec = replace(make_spec(), roles=(reader, writer))
    assert said_again(spec) == spec


@pytest.mark.parametrize("probe", PROBES)
def test_every_kind_of_probe_is_said_again(probe: Probe) -> None:
    spec = replace(make_spec(), probe=probe)
    if probe.tls is not None and probe.tls.ca:  # it is none: said again, and refused
        text = service_text(spec)
        assert "tls: {name: www.example.net, ca: " in text
        spec = replace(spec, probe=replace(probe, tls=replace(probe.tls, ca="")))
    assert said_again(spec) == spec
    alive = replace(spec, liveness=replace(spec.probe, only_announces=False))
    assert said_again(alive) == alive
