"""A platform with aggregates that only some datacenters announce."""

from pathlib import Path

from pltfrms.model.network.announcements import announcements
from pltfrms.model.network.interventions import Interventions
from pltfrms.render.emulated.internet import render_internet
from pltfrms.specfile.load import load_directory, load_service
from tests.shapes.shapes import DIRECTORY, read
from tests.specfile.test_bad_specs import problems_of

SHAPE = read("regional-aggregates")
PLATFORM = SHAPE.platform
SITES = ("fra", "ams", "nyc")
EVERYWHERE = set(SITES)


def test_each_aggregate_is_announced_where_it_is_to_be_and_nowhere_else() -> None:
    made = announcements(PLATFORM, Interventions(), 0)
    where = {
        str(aggregate.prefix): {
            each.datacenter for each in made if each.visible and each.prefix == aggregate.prefix
        }
        for aggregate in PLATFORM.aggregates
    }
    assert where == {
        "203.0.112.0/22": EVERYWHERE,
        "203.0.112.0/24": EVERYWHERE,
        "203.0.113.0/24": {"fra", "ams"},
        "203.0.114.0/24": {"fra"},
        "2001:db8:100::/48": EVERYWHERE,
        "2001:db8:200::/48": {"fra", "ams"},
        "2001:db8:300::/48": {"fra"},
        **{f"203.0.{121 + number}.0/24": {site} for number, site in enumerate(SITES)},
        **{f"2001:db8:{10 + number:x}::/48": {site} for number, site in enumerate(SITES)},
    }


def test_a_service_that_runs_where_its_aggregate_is_not_announced_is_told_so(
    tmp_path: Path,
) -> None:
    path = tmp_path / "web.yaml"
    text = (DIRECTORY / "one-site" / "web.yaml").read_text()
    path.write_text(
        text.replace(
            "replicas: {per_datacenter: 2}",
            "replicas: {per_datacenter: 1, datacenters: [nyc]}\naggregate: europe",
        )
    )
    (problem,) = problems_of(lambda: load_service(path, PLATFORM))
    assert "203.0.113.0/24 is announced only in fra, ams" in str(problem)
    path.write_text(path.read_text().replace("[nyc]", "[nyc, ams]"))
    assert load_service(path, PLATFORM).aggregates == ("europe",)


def test_a_member_of_the_exchange_speaks_with_both_route_servers_in_both_families() -> None:
    assert SHAPE.lab is not None
    at = {name: render_internet(PLATFORM, SHAPE.lab, name) for name in ("haarlem", "ixp1")}
    for name in (".ipv4", ".ipv6", ":2.ipv4", ":2.ipv6"):
        assert f"protocol bgp 'ixp.ixp1{name}'" in at["haarlem"]
        for member in ("haarlem", "ams1"):
            assert f"protocol bgp 'member.{member}{name}'" in at["ixp1"]


def test_two_files_that_want_one_address_are_refused_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "platform.yaml").write_text(
        (DIRECTORY / "regional-aggregates" / "platform.yaml").read_text()
    )
    text = (
        (DIRECTORY / "one-site" / "web.yaml")
        .read_text()
        .replace("per_datacenter: 2", "per_datacenter: 1")
    )
    for name in ("a", "b"):
        said = f'{text}addresses: ["2001:db8:100::53"]\n'
        (tmp_path / f"{name}.yaml").write_text(said.replace("service: web", f"service: {name}"))
    (problem,) = problems_of(lambda: load_directory(tmp_path))
    assert problem.file == str(tmp_path / "b.yaml")
    assert problem.line == len(text.splitlines()) + 1
    assert "2001:db8:100::53 is already in" in problem.what
