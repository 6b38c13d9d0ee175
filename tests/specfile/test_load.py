"""Right specs give the right words; no text gives anything but words or a SpecError."""

import dataclasses
import re
from ipaddress import IPv4Network, IPv6Network, ip_interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # ships no types
from ruamel.yaml import YAML

from pltfrms.codec import decode, encode
from pltfrms.errors import Problem, SpecError
from pltfrms.model.network.lab import Lab
from pltfrms.model.network.links import Link
from pltfrms.model.network.peering import Session
from pltfrms.model.network.topology import AnnouncePolicy, Platform, Role, Timers
from pltfrms.model.services.service import ProbeKind, ServiceSpec
from pltfrms.specfile import (
    check_platform,
    check_service,
    json_schema,
    load_directory,
    load_file,
    load_lab,
    load_platform,
    load_service,
)
from pltfrms.specfile.document import parse
from pltfrms.specfile.load import Kind

EXAMPLE = Path("examples/three-datacenters")
FILES: dict[Kind, str] = {"platform": "platform.yaml", "service": "web.yaml", "lab": "lab.yaml"}


@pytest.fixture(scope="module")
def platform() -> Platform:
    return load_platform(EXAMPLE / "platform.yaml")


@pytest.fixture(scope="module")
def web() -> ServiceSpec:
    return load_service(EXAMPLE / "web.yaml")


def write(directory: Path, name: str, text: str) -> Path:
    path = directory / name
    path.write_text(text)
    return path


# ---- right specs ---------------------------------------------------------------------------


def test_the_example_platform_is_read(platform: Platform) -> None:
    assert (platform.name, platform.asn) == ("example", 64500)
    assert [str(a.prefix) for a in platform.aggregates] == [
        "198.51.100.0/24",
        "2001:db8:100::/48",
    ]
    assert platform.infrastructure4 == IPv4Network("10.0.0.0/8")
    assert platform.infrastructure6 == IPv6Network("fd50:d858:e098::/48")
    assert platform.timers == Timers(external_bfd_interval_ms=200)
    assert len(platform.machines) == 18
    node = platform.machine("ams-n2")
    assert (node.id, node.role, node.datacenter) == (2, Role.NODE, "ams")
    assert (node.cpu, node.memory_bytes) == (4, 8 * 2**30)
    assert platform.links[0] == Link(a="fra-e1", b="ams-e2", capacity_mbps=10_000)
    session = platform.peers[0].sessions[0]
    assert session.ours[1] == ip_interface("2001:db8:f000:1::1/127")
    assert (session.interface, session.bfd) == ("x-transit1", True)


def test_the_example_service_is_read(web: ServiceSpec) -> None:
    assert (web.name, web.per_datacenter, web.max_per_node) == ("web", 2, 1)
    assert web.run.memory_bytes == 64 * 2**20
    assert dict(web.run.files)["nginx.conf"].startswith("daemon off;\n")
    assert (web.probe.kind, web.probe.path, web.probe.port) == (ProbeKind.HTTP, "/healthz", 80)
    assert (web.probe.interval_ms, web.probe.timeout_ms) == (500, 300)
    assert web.drain_ms == 30_000


def test_the_example_lab_is_read(platform: Platform) -> None:
    lab = load_lab(EXAMPLE / "lab.yaml", platform)
    assert lab.link_delays_us["fra-e1--ams-e2"] == 5000
    assert lab.transits[0].peerings == {"transit2": 4000}
    assert lab.ixps[0].delays_us["fra-e2"] == 6000
    assert lab.eyeballs[0].upstreams == {"transit1": 3000, "transit2": 12000}


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("ports: [80/tcp]\n", "", 2, "nothing says what it listens on"),
        ("[80/tcp]", "[443/tcp, 80/udp]", 30, "it is asked on 80/tcp, which is not in ports"),
        ("http: /healthz, port: 80", "tcp: 81", 30, "it is asked on 81/tcp, which is not in"),
    ],
)
def test_ports_that_do_not_fit_the_probe_deserve_a_note_and_are_no_mistake(
    old: str, new: str, line: int, says: str, tmp_path: Path
) -> None:
    text = (EXAMPLE / "web.yaml").read_text()
    assert old in text
    path = write(tmp_path, "web.yaml", text.replace(old, new))
    notes: list[Problem] = []
    spec = load_file(path, notes)
    assert isinstance(spec, ServiceSpec)
    (note,) = notes
    assert says in note.what
    assert (note.file, note.line) == (str(path), line)
    several: list[Problem] = []
    load_directory(tmp_path, several)
    assert several == notes


@pytest.mark.parametrize(
    ("liveness", "noted"),
    [
        ("{http: /healthz, port: 80, interval: 3s, fall: 9}", True),
        ("{http: /alive, port: 80}", False),
        ("{tcp: 80}", False),
    ],
)
def test_a_fault_that_all_share_is_to_restart_nobody(
    liveness: str, tmp_path: Path, *, noted: bool
) -> None:
    text = (EXAMPLE / "web.yaml").read_text() + f"liveness: {liveness}\n"
    path = write(tmp_path, "web.yaml", text)
    notes: list[Problem] = []
    load_file(path, notes)
    last = len(text.splitlines())
    assert [(each.line, "restarts all" in each.what) for each in notes] == [
        (last, True)
    ] * noted


def test_what_is_usual_deserves_no_note(tmp_path: Path) -> None:
    notes: list[Problem] = []
    load_directory(EXAMPLE, notes)
    text = (EXAMPLE / "web.yaml").read_text()
    asked = text.replace("{http: /healthz, port: 80,", "{exec: [pg_isready],")
    load_file(write(tmp_path, "web.yaml", asked.replace("80/tcp", "5432/tcp")), notes)
    assert notes == []


def test_delays_that_are_not_said_are_zero(platform: Platform, tmp_path: Path) -> None:
    text = (EXAMPLE / "lab.yaml").read_text()
    text = text.replace("  ams-e1--lon-e2: 8ms\n", "").replace(", ams-e2: 9ms", "")
    lab = load_lab(write(tmp_path, "lab.yaml", text), platform)
    assert lab.link_delays_us["ams-e1--lon-e2"] == 0
    assert lab.transits[0].delays_us["ams-e2"] == 0


def test_every_way_to_write_a_thing_is_understood(tmp_path: Path) -> None:
    text = (EXAMPLE / "platform.yaml").read_text()
    for old, new in (
        ("198.51.100.0/24,", "{prefix: 198.51.100.0/24, announce: always},"),
        ("edges: [fra-e1, fra-e2]", "edges: {fra-e1: {id: 7, rack: A3}, fra-e2: {}}"),
        ("timers:", 'infrastructure: [11.0.0.0/8, "fd00::/48"]\ntimers:'),
        ("200ms}", "0.2s, contact_ttl: 1m}"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    platform = load_platform(write(tmp_path, "platform.yaml", text))
    assert platform.aggregates[0].announce is AnnouncePolicy.ALWAYS
    assert platform.machine("fra-e1").id == 7
    assert platform.machine("fra-e1").rack == "A3"
    assert platform.infrastructure4 == IPv4Network("11.0.0.0/8")
    assert platform.infrastructure6 == IPv6Network("fd00::/48")
    assert platform.timers.external_bfd_interval_ms == 200
    assert platform.timers.contact_ttl_seconds == 60


def test_drain_and_director_are_read(tmp_path: Path) -> None:
    text = (EXAMPLE / "web.yaml").read_text()
    for said, drain_ms in (("0s", 0), ("1h", 3_600_000), ("2.5s", 2500)):
        path = write(tmp_path, "web.yaml", f"drain: {said}\n{text}")
        assert load_service(path).drain_ms == drain_ms
    text = (EXAMPLE / "platform.yaml").read_text()
    for said, director in (("true", True), ("false", False)):
        path = write(tmp_path, "platform.yaml", f"director: {said}\n{text}")
        assert load_platform(path).director is director
    assert load_platform(EXAMPLE / "platform.yaml").director


def test_probe_kinds_are_read(tmp_path: Path) -> None:
    text = (EXAMPLE / "web.yaml").read_text()
    head = text[: text.index("probe:")]
    tcp = load_service(write(tmp_path, "a.yaml", head + "probe: {tcp: 5432}"))
    assert (tcp.probe.kind, tcp.probe.port) == (ProbeKind.TCP, 5432)
    command = load_service(write(tmp_path, "b.yaml", head + "probe: {exec: [pg_isready, -q]}"))
    assert command.probe.command == ("pg_isready", "-q")


def test_a_file_says_itself_what_it_is() -> None:
    assert isinstance(load_file(EXAMPLE / "platform.yaml"), Platform)
    assert isinstance(load_file(EXAMPLE / "web.yaml"), ServiceSpec)
    with pytest.raises(SpecError, match="no platform, service or job"):
        load_file(EXAMPLE / "lab.yaml")


# ---- directories ---------------------------------------------------------------------------


def test_a_directory_is_read_as_a_whole() -> None:
    platform, services, lab = load_directory(EXAMPLE)
    assert platform is not None
    assert [service.name for service in services] == ["web"]
    assert isinstance(lab, Lab)


def test_problems_of_all_files_of_a_directory_are_said(tmp_path: Path) -> None:
    web = (EXAMPLE / "web.yaml").read_text()
    write(tmp_path, "platform.yaml", (EXAMPLE / "platform.yaml").read_text())
    write(tmp_path, "a.yaml", web.replace("per_datacenter: 2", "per_datacenter: 9"))
    write(tmp_path, "b.yml", web.replace("port: 80", "prot: 80"))
    write(tmp_path, "c.yaml", "nonsense: true\n")
    write(tmp_path, "d.yaml", "platform: [")
    write(tmp_path, "ignored.txt", "{")
    with pytest.raises(SpecError) as caught:
        load_directory(tmp_path)
    said = {(Path(p.file).name, p.where) for p in caught.value.problems}
    assert said == {
        ("a.yaml", "replicas.per_datacenter"),
        ("b.yml", "probe.prot"),
        ("b.yml", "probe.port"),
        ("b.yml", "service"),
        ("c.yaml", ""),
        ("d.yaml", ""),
    }


def test_a_directory_has_one_platform_and_a_lab_needs_it(tmp_path: Path) -> None:
    lab = write(tmp_path, "lab.yaml", (EXAMPLE / "lab.yaml").read_text())
    with pytest.raises(SpecError, match="a lab without a platform"):
        load_directory(tmp_path)
    lab.unlink()
    for name in ("a.yaml", "b.yaml"):
        write(tmp_path, name, (EXAMPLE / "platform.yaml").read_text())
    with pytest.raises(SpecError, match="a second platform, the first is in"):
        load_directory(tmp_path)


def test_a_directory_may_be_empty_but_must_be_there(tmp_path: Path) -> None:
    assert load_directory(tmp_path) == (None, (), None)
    with pytest.raises(SpecError, match="is not a directory"):
        load_directory(tmp_path / "nowhere")


# ---- words that came another way -----------------------------------------------------------


def test_decoded_words_are_checked_as_files_are(platform: Platform, web: ServiceSpec) -> None:
    assert check_platform(decode(Platform, encode(platform))) == ()
    assert check_service(decode(ServiceSpec, encode(web)), platform) == ()
    evil = dataclasses.replace(platform, name="x; }", asn=0)
    assert [problem.where for problem in check_platform(evil)] == ["platform", "asn"]
    many = dataclasses.replace(web, per_datacenter=4)
    (fra, *_) = check_service(many, platform)
    assert (fra.file, fra.line, fra.where) == ("", 0, "replicas.per_datacenter")


def test_capacity_counts_all_nodes(platform: Platform, web: ServiceSpec) -> None:
    run = dataclasses.replace(web.run, cpu=2.5)
    big = dataclasses.replace(web, run=run, per_datacenter=4, max_per_node=2)
    problems = check_service(big, platform)
    assert "only 3 of 4 replicas fit on the empty nodes of fra" in problems[0].what


def test_words_that_no_file_could_say_are_refused(platform: Platform) -> None:
    stray = dataclasses.replace(platform.machines[0], name="x1", datacenter="nowhere", id=9)
    session = Session(edge="fra-e1", ours=(), theirs=(), interface="")
    peer = dataclasses.replace(platform.peers[0], sessions=(session,))
    words = dataclasses.replace(
        platform,
        machines=(*platform.machines, stray),
        datacenters=(*platform.datacenters, platform.datacenters[0]),
        links=(Link(a="fra-e1", b="x1"),),
        peers=(peer,),
    )
    said = " ".join(problem.what for problem in check_platform(words))
    assert "its datacenter nowhere does not exist" in said
    assert "a second datacenter fra" in said
    assert "must have one address per family" in said
    assert "'' is not the name of an interface" in said


# ---- JSON Schema ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(FILES))
def test_the_schema_fits_the_example(kind: Kind) -> None:
    data = YAML(typ="safe").load((EXAMPLE / FILES[kind]).read_text())
    validator = Draft202012Validator(json_schema(kind))
    validator.check_schema(json_schema(kind))
    assert list(validator.iter_errors(data)) == []
    assert list(validator.iter_errors({**data, "nonsense": 1})) != []


def fields_of(schema: Any) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(schema, list):
        return [found for entry in schema for found in fields_of(entry)]
    if not isinstance(schema, dict):
        return []
    here = list(schema.get("properties", {}).items())
    return here + [found for entry in schema.values() for found in fields_of(entry)]


@pytest.mark.parametrize("kind", list(FILES))
def test_every_field_of_the_schema_is_described(kind: Kind) -> None:
    fields = fields_of(json_schema(kind))
    assert fields
    assert [name for name, field in fields if not field.get("description")] == []


def test_the_schema_shows_defaults_as_they_are_written() -> None:
    timers = json_schema("platform")["$defs"]["TimersShape"]["properties"]
    assert timers["heartbeat"]["default"] == "1000ms"
    assert timers["heartbeat"]["type"] == "string"


# ---- any text ------------------------------------------------------------------------------

_TOKEN = re.compile(r"[A-Za-z0-9_./-]+|[^\sA-Za-z0-9]|\n *|\s")
_NASTY = st.sampled_from(
    [
        *("", "~", "0", "-1", "1e999", ".nan", "true", "[]", "{}", "[[", "}", "'", '"', ":"),
        *("? ", "- ", "&a ", "*a", "!x ", "|", ">", "#", "%", "\t", "\n", "---\n", "<<: "),
        *("fra-e1", "fra", "web", "500ms", "9" * 40, "10.0.0.0/8", "::/0", "0.0.0.0/0"),
        *('"\\ud800"', '"\\0"', "\x85", "\ufeff", "ü", "\u0661", "id", "asn", "lon-e2", "x;}"),
    ]
)


@st.composite
def mutations(draw: st.DrawFn, source: str) -> str:
    tokens = _TOKEN.findall((EXAMPLE / source).read_text())
    for _ in range(draw(st.integers(1, 3))):
        index = draw(st.integers(0, len(tokens) - 1))
        other = st.sampled_from(tokens)
        tokens[index] = draw(st.one_of(st.just(""), _NASTY, other, st.text(max_size=5)))
    return "".join(tokens)


_ANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_loads_or_says_where(text: str, source: str, tmp_path: Path) -> None:
    path = tmp_path / source
    path.write_bytes(text.encode(errors="surrogatepass"))
    count = max(1, len(re.split("\r\n|[\n\r\x85\u2028\u2029]", text)))
    for problem in refusal(path):
        lowest = 0 if "cannot be read" in problem.what else 1
        assert lowest <= problem.line <= count, problem
        assert f"{problem.where}{problem.what}{problem.hint}".isprintable()


def refusal(path: Path) -> tuple[Problem, ...]:
    """Return why a file is refused; nothing if it is accepted."""
    try:
        if path.name == "lab.yaml":
            load_lab(path, load_platform(EXAMPLE / "platform.yaml"))
        else:
            load_file(path)
    except SpecError as error:
        return error.problems or (Problem(str(path), -1, "", "refused without a reason"),)
    return ()


@_ANY
@given(text=mutations("platform.yaml"))
def test_any_platform_text_loads_or_is_refused(text: str, tmp_path: Path) -> None:
    assert_loads_or_says_where(text, "platform.yaml", tmp_path)


@_ANY
@given(text=mutations("web.yaml"))
def test_any_service_text_loads_or_is_refused(text: str, tmp_path: Path) -> None:
    assert_loads_or_says_where(text, "web.yaml", tmp_path)


@settings(_ANY, max_examples=60)
@given(text=mutations("lab.yaml"))
def test_any_lab_text_loads_or_is_refused(text: str, tmp_path: Path) -> None:
    assert_loads_or_says_where(text, "lab.yaml", tmp_path)


@_ANY
@given(text=st.text(max_size=60))
def test_any_text_at_all_loads_or_is_refused(text: str, tmp_path: Path) -> None:
    assert_loads_or_says_where(text, "platform.yaml", tmp_path)


def test_an_anchor_that_is_set_twice_is_refused_like_any_other() -> None:
    document = parse("a: &x 1\nb: &x 2\n", "some.yaml")
    assert {problem.line for problem in document.problems} == {1, 2}
    assert all("anchors" in problem.what for problem in document.problems)
