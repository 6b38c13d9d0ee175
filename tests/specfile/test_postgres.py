"""`postgres:` in a service file: what is written out for it, and every mistake, in its line."""

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pltfrms.errors import Problem, SpecError
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.hooks import HookMoment
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile import load_platform, load_service, service_text
from pltfrms.specfile.load import load_directory
from pltfrms.specfile.shapes.postgres import BackupShape, PostgresShape

EXAMPLE = Path("examples/three-datacenters/platform.yaml")
PLATFORM = load_platform(EXAMPLE)
GOLDEN = Path(__file__).parent / "golden" / "shop-db.yaml"
TEXT = """\
service: shop-db
postgres:
  version: 15
  size: 200GiB
  lost_after: 1h
  durability: quorum
  prefer: [fra, ams]
  reader: {max_lag: 1MiB}
  clients: [service:shop]
  databases: {shop: {owner: app}}
  users: [report]
  parameters: {max_connections: 200}
  cpu: 2.0
  memory: 2GiB
replicas: {per_datacenter: 1}
group: shop
"""


def written(directory: Path, text: str = TEXT) -> Path:
    path = directory / "db.yaml"
    path.write_text(text)
    return path


def loaded(directory: Path, old: str = "", new: str = "") -> ServiceSpec:
    assert old in TEXT
    return load_service(written(directory, TEXT.replace(old, new, 1)))


def settings(spec: ServiceSpec) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(dict(spec.run.files)["patroni.json"])
    return found


def problems_of(path: Path, platform: Platform | None = None) -> tuple[Problem, ...]:
    """Return all problems of a file."""
    try:
        load_service(path, platform)
    except SpecError as error:
        return error.problems
    return ()


def test_what_is_written_out_can_be_read_and_is_the_same_service(tmp_path: Path) -> None:
    spec = loaded(tmp_path)
    assert service_text(spec) == GOLDEN.read_text()
    assert load_service(GOLDEN) == spec
    assert not problems_of(written(tmp_path), PLATFORM)


def test_a_directory_may_have_databases(tmp_path: Path) -> None:
    written(tmp_path)
    _, services, _ = load_directory(tmp_path)
    assert [each.name for each in services] == ["shop-db"]


@pytest.mark.parametrize(
    ("durability", "mode", "strict"),
    [("async", False, False), ("quorum", "quorum", False), ("strict", "quorum", True)],
)
def test_durability_is_how_commits_wait(
    tmp_path: Path, durability: str, mode: object, strict: object
) -> None:
    spec = loaded(tmp_path, "durability: quorum", f"durability: {durability}")
    agreed = settings(spec)["bootstrap"]["dcs"]
    assert (agreed["synchronous_mode"], agreed["synchronous_mode_strict"]) == (mode, strict)
    assert agreed["failsafe_mode"] is True


def test_a_setting_that_is_said_counts_more_than_ours(tmp_path: Path) -> None:
    def cache(spec: ServiceSpec) -> object:
        return settings(spec)["bootstrap"]["dcs"]["postgresql"]["parameters"]["shared_buffers"]

    assert cache(loaded(tmp_path)) == "512MB"
    assert cache(loaded(tmp_path, "max_connections: 200", "shared_buffers: 1GB")) == "1GB"


def test_who_may_write_is_who_says_so_with_a_timeline(tmp_path: Path) -> None:
    roles = {each.name: each for each in loaded(tmp_path).roles}
    writer, reader = roles["writer"], roles["reader"]
    assert (writer.probe.path, writer.probe.epoch) == ("/primary", ".timeline")
    assert writer.probe.http is not None
    assert writer.probe.http.body in json.dumps({"state": "running", "role": "primary"})
    assert (reader.probe.path, reader.shared) == ("/replica?lag=1048576", True)
    assert not writer.shared


_PLACE = {
    "endpoint": "endpoint: 'https://s3.example.net'",
    "bucket": "bucket: our-databases",
    "more": "keep: 2",
}
BACKUP = f"backup: {{{', '.join(_PLACE.values())}}}"


def test_every_primary_sends_its_log_to_the_backups_of_its_service(tmp_path: Path) -> None:
    told = settings(loaded(tmp_path))["postgresql"]["parameters"]
    assert not any(name.startswith("archive") for name in told)
    spec = loaded(tmp_path, "users: [report]", BACKUP)
    told = settings(spec)["postgresql"]["parameters"]
    assert told["archive_mode"] == "on"
    assert "--stanza=shop-db archive-push %p" in told["archive_command"]
    assert {"shop-db-backup", "shop-db-cipher"} <= {each.name for each in spec.run.secrets}
    place = json.loads(dict(spec.run.files)["postgres.json"])["backup"]
    assert (place["bucket"], place["keep"], place["queue"]) == ("our-databases", 2, 50 << 30)


def test_a_new_database_begins_with_another_one_at_a_moment(tmp_path: Path) -> None:
    assert "method" not in settings(loaded(tmp_path))["bootstrap"]
    for at, target in (
        (", at: '2026-11-30T18:59:00.5+01:00'", "'--target=2026-11-30 17:59:00.500+00:00'"),
        ("", ""),
    ):
        more = f"{BACKUP}\n  restore: {{service: old-db{at}}}"
        spec = loaded(tmp_path, "users: [report]", more)
        begin = settings(spec)["bootstrap"]
        command = begin[begin["method"]]["command"]
        assert "--stanza=old-db restore" in command
        assert ("--type=time" in command, target in command) == (bool(at), True)
        assert {"old-db-backup", "old-db-cipher"} <= {each.name for each in spec.run.secrets}
        told = settings(spec)["postgresql"]["parameters"]
        assert "--stanza=shop-db archive-push" in told["archive_command"]


def test_leases_end_with_their_instance_where_that_is_asked_for(tmp_path: Path) -> None:
    usual = loaded(tmp_path).run.store
    (tmp_path / "fast").mkdir()
    fast = loaded(tmp_path / "fast", "durability: quorum", "failover: fast").run.store
    assert (usual and usual.end_leases, fast and fast.end_leases) == (False, True)


WRONG = (
    ("version: 15", "version: 14", "14 is no version that there is"),
    ("version: 15", "version: true", "True is no version that there is"),
    ("version: 15", "version: '15'", "'15' is no version that there is"),
    ("size: 200GiB", "size: 200", "200 has no unit"),
    ("size: 200GiB", "size: 1KiB", "is outside 1MiB..1PiB"),
    ("lost_after: 1h", "lost_after: 721h", "is more than 30 days"),
    ("durability: quorum", "durability: sync", "'sync' is not a known word"),
    ("durability: quorum", "replicas: 3", "it is not said there"),
    ("durability: quorum", "failover: fast\n  durability: async", "fast with durability async"),
    ("durability: quorum", "failover: soon", "'soon' is not a known word"),
    ("prefer: [fra, ams]", "prefer: [fra, fra]", "fra is in the list twice"),
    ("prefer: [fra, ams]", "prefer: []", "is empty"),
    ("prefer: [fra, ams]", "prefer: [fra, par]", "there are no replicas in 'par'"),
    ("prefer: [fra, ams]", "promote: [par]", "there are no replicas in 'par'"),
    ("prefer: [fra, ams]", "{prefer: [ams], promote: [fra]}", "ams is preferred, and none"),
    ("{max_lag: 1MiB}", "{max_lag: 10s}", "unknown unit s"),
    ("{max_lag: 1MiB}", "{lag: 1MiB}", "unknown field"),
    ("clients: [service:shop]", "clients: [shop]", "'shop'"),
    ("{owner: app}", "{owner: postgres}", "postgres means something else"),
    ("{owner: app}", "{owner: authority}", "authority means something else"),
    ("{owner: app}", "{owner: store}", "store means something else"),
    ("{owner: app}", "{owner: 'a b'}", "'a b' is not a name"),
    ("{owner: app}", "{}", "is missing"),
    ("{shop: {owner", "{template1: {owner", "template1 is there anyway"),
    ("{shop: {owner", "{'s;drop': {owner", "'s;drop' is not a name"),
    ("users: [report]", "users: [report, report]", "report is in the list twice"),
    ("users: [report]", "users: [replicator]", "replicator means something else"),
    ("{max_connections: 200}", "{fsync: false}", "fsync is not for you to set"),
    ("{max_connections: 200}", "{ssl_ca_file: /etc/x}", "ssl_ca_file is not for you"),
    ("{max_connections: 200}", "{synchronous_commit: local}", "no other replica has"),
    ("{max_connections: 200}", "{synchronous_commit: off}", "no other replica has"),
    ("{max_connections: 200}", "{Max-Conns: 1}", "'Max-Conns' is not the name of a setting"),
    ("{max_connections: 200}", '{work_mem: "a\\nb"}', "is no value of a setting"),
    ("{max_connections: 200}", '{work_mem: "${pltfrms.nod}"}', "nod"),
    ("users: [report]", "users: [cipher]", "cipher means something else"),
    *(
        (
            "users: [report]",
            f"backup: {{{', '.join(dict(_PLACE, **{key: value}).values())}}}",
            says,
        )
        for key, value, says in (
            ("endpoint", "endpoint: 'http://s3.example.net'", "is not https://HOST"),
            (
                "endpoint",
                'endpoint: "https://s3.example.net\\nrepo1-path=/"',
                "is not https://HOST",
            ),
            ("endpoint", "endpoint: 'https://s3.example.net:65536'", "is not https://HOST"),
            ("more", "prefix: a/../b", "is not such as postgres"),
            ("bucket", "bucket: 'a b'", "is not the name of a bucket"),
            ("more", "region: 'a b'", "is not a region"),
            ("more", "prefix: ../other", "is not such as postgres"),
            ("more", "style: vhost", "is not a known word"),
            ("more", "ca: ours.pem", "is not a file"),
            ("more", "keep: 0", "is not a number from 1"),
        )
    ),
    ("users: [report]", "restore: {service: old-db}", "where the backups are is not said"),
    ("users: [report]", "restore: {service: 'a b'}", "'a b' is not a name"),
    ("users: [report]", "restore: {service: db, at: '2026-11-30T17:59:00'}", "no time zone"),
    ("cpu: 2.0", "cpu: 0.0", "must be more than 0"),
    ("memory: 2GiB", "memory: 2", "2 has no unit"),
    ("memory: 2GiB", "memory: 64GiB", "the largest node of fra has"),
    ("per_datacenter: 1", "total: 3", "a total moves between them"),
    ("group: shop", "run: {process: [a]}", "unknown field"),
    ("group: shop", "group: 'a b'", "'a b'"),
)


@pytest.mark.parametrize(("old", "new", "says"), WRONG, ids=[new for _, new, _ in WRONG])
def test_mistakes_are_said_in_their_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    if new.startswith("{prefer"):
        new = "prefer: [ams]\n  promote: [fra]"
    if says == "it is not said there":
        says = "unknown field"
    assert old in TEXT
    text = TEXT.replace(old, new, 1)
    problems = problems_of(written(tmp_path, text), PLATFORM)
    said = [each for each in problems if says in str(each)]
    assert said, [str(each) for each in problems]
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    assert line in {each.line for each in said}, [str(each) for each in said]


@pytest.mark.parametrize("field", ["service", "postgres", "replicas"])
def test_what_is_missing_is_said(tmp_path: Path, field: str) -> None:
    data = {"service": "db", "postgres": {"version": 15, "size": "1GiB"}}
    data["replicas"] = {"per_datacenter": 1}
    if field == "postgres":
        data["postgres"] = {}
    else:
        del data[field]
    problems = problems_of(written(tmp_path, json.dumps(data)))
    assert any("is missing" in str(each) and field in str(each) for each in problems)


def backed_up(field: str, word: str) -> dict[str, Any]:
    place = {"endpoint": "https://s3.example.net", "bucket": "our-databases"}
    return {"postgres": {"backup": place | {field: word}}}


def restored(word: str) -> dict[str, Any]:
    return {"restore": {"service": word}}


HOSTILE = ("a\0b", "a\nb", "\x1b[31ma", "a b", "../x", "--x", "$(id)", "{{ 7 }}", "a\u202eb")
PLACES: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "service": lambda word: {"service": word},
    "databases": lambda word: {"postgres": {"databases": {word: {"owner": "a"}}}},
    "owner": lambda word: {"postgres": {"databases": {"a": {"owner": word}}}},
    "users": lambda word: {"postgres": {"users": [word]}},
    "promote": lambda word: {"postgres": {"promote": [word]}},
    "prefer": lambda word: {"postgres": {"prefer": [word]}},
    "clients": lambda word: {"postgres": {"clients": [word]}},
    "parameters": lambda word: {"postgres": {"parameters": {word: 1}}},
    **{name: partial(backed_up, name) for name in BackupShape.model_fields},
    "restore": lambda word: {"postgres": backed_up("ca", "")["postgres"] | restored(word)},
    "group": lambda word: {"group": word},
    "labels": lambda word: {"labels": {word: "a"}},
    "aggregate": lambda word: {"aggregate": [word]},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("word", HOSTILE, ids=ascii)
def test_hostile_words_are_refused(tmp_path: Path, place: str, word: str) -> None:
    said = PLACES[place](word)
    base: dict[str, Any] = {
        "service": "db",
        "postgres": {"version": 15, "size": "1GiB"} | said.pop("postgres", {}),
        "replicas": {"per_datacenter": 1},
    }
    path = written(tmp_path, json.dumps(base | said))
    assert problems_of(path, PLATFORM)


def test_every_word_that_a_database_may_have_is_tried() -> None:
    tried = {"owner": "databases", "endpoint": "backup"}
    words = {tried.get(name, name) for name in PLACES}
    texts = {"version", "size", "lost_after", "durability", "failover", "reader"}
    texts |= {"cpu", "memory"}
    assert set(PostgresShape.model_fields) - texts == words & set(PostgresShape.model_fields)


# ---- elections -----------------------------------------------------------------------------


def platform_with(directory: Path, **controllers: int) -> Platform:
    """Return the example with so many controllers in each datacenter."""
    text = EXAMPLE.read_text()
    for name in ("fra", "ams", "lon"):
        count = controllers.get(name, 0)
        names = ", ".join(f"{name}-c{number}" for number in range(1, count + 1))
        new = f"    controllers: [{names}]\n" if count else ""
        text = text.replace(f"    controllers: [{name}-c1]\n", new)
    path = directory / "platform.yaml"
    path.write_text(text)
    return load_platform(path)


TWO = "replicas: {fra: 1, ams: 1}"
CASES = (
    ({"fra": 2, "ams": 1}, "", "but fra has 2 of 3 controllers"),
    ({"fra": 1, "ams": 2}, "", "but ams has 2 of 3 controllers"),
    ({"fra": 1, "ams": 1}, "", "but fra has 1 of 2 controllers"),
    ({"fra": 1}, "", "but fra has 1 of 1 controllers"),
    ({"fra": 2, "ams": 2, "lon": 1}, "", ""),
    ({"fra": 1, "ams": 1, "lon": 1}, "", ""),
    ({"lon": 3}, "", ""),
    ({"fra": 2, "ams": 1}, "  promote: [fra]\n", ""),
    ({"fra": 2, "ams": 1}, "  promote: [fra, ams]\n", "but fra has 2 of 3 controllers"),
)


@pytest.mark.parametrize(("controllers", "more", "says"), CASES)
def test_two_datacenters_without_a_third_place_elect_nobody(
    tmp_path: Path, controllers: dict[str, int], more: str, says: str
) -> None:
    text = TEXT.replace("replicas: {per_datacenter: 1}", TWO)
    text = text.replace("  prefer: [fra, ams]\n", more)
    path, platform = written(tmp_path, text), platform_with(tmp_path, **controllers)
    if not says:
        assert not problems_of(path, platform)
        return
    problems = [str(each) for each in problems_of(path, platform)]
    assert len(problems) == 1
    assert says in problems[0]
    assert "without it there is no majority" in problems[0]
    assert "a third place" in problems[0]


@pytest.mark.parametrize(
    ("replicas", "more", "hands_over"),
    [
        ("{per_datacenter: 1}", "", True),
        ("{per_datacenter: 1}", "  promote: [fra]\n", False),
        ("{per_datacenter: 2}", "  promote: [fra]\n", True),
        ("{per_datacenter: 1}", "  promote: [fra, ams]\n", True),
        ("{fra: 1, ams: 1}", "", True),
        ("{fra: 1, ams: 1}", "  promote: [fra]\n", False),
        ("{fra: 2, ams: 1}", "  promote: [fra]\n", True),
        ("{fra: 1}", "", False),
        ("{per_datacenter: 1, datacenters: [fra]}", "", False),
    ],
)
def test_who_alone_may_be_primary_hands_over_to_nobody(
    tmp_path: Path, replicas: str, more: str, hands_over: object
) -> None:
    text = TEXT.replace("{per_datacenter: 1}", replicas)
    text = text.replace("  prefer: [fra, ams]\n", more)
    spec = load_service(written(tmp_path, text))
    assert (HookMoment.HAND_OVER in {each.moment for each in spec.hooks}) is hands_over
    assert not problems_of(written(tmp_path, text), PLATFORM)


def test_who_is_alone_on_this_platform_has_to_be_said(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for name in ("ams", "lon"):
        text = re.sub(rf"    nodes:\n(      {name}-n.*\n)+", "", text)
    path = tmp_path / "platform.yaml"
    path.write_text(text)
    alone = TEXT.replace("  prefer: [fra, ams]\n", "")
    problems = problems_of(written(tmp_path, alone), load_platform(path))
    assert ["promote: [fra]" in str(each) for each in problems] == [True]


def test_strict_with_one_replica_is_refused(tmp_path: Path) -> None:
    text = TEXT.replace("{per_datacenter: 1}", "{fra: 1}").replace("[fra, ams]", "[fra]")
    path = written(tmp_path, text.replace("durability: quorum", "durability: strict"))
    problems = problems_of(path, PLATFORM)
    assert ["nothing could be written" in str(each) for each in problems] == [True]
