"""What only a plan can refuse is said with file and line, too."""

import shutil
from pathlib import Path

import pytest

from pltfrms.errors import UsageError
from pltfrms.model.messages.api import Change
from pltfrms.planner.changes.change import apply_change
from tests.cli.conftest import Run
from tests.cli.world import HEALTHY, FakeController

EXAMPLE = Path("examples/three-datacenters")


def refused(run: Run, directory: Path, file: str, old: str, new: str) -> tuple[int, str]:
    """Return the exit code and the words of a plan from the example to a change of it."""
    before, after = directory / "before", directory / "after"
    for each in (before, after):
        shutil.copytree(EXAMPLE, each)
        platform = each / "platform.yaml"
        more = "aggregates: [198.51.100.0/24, 203.0.112.0/24,"
        platform.write_text(platform.read_text().replace("aggregates: [198.51.100.0/24,", more))
    changed = after / file
    changed.write_text(changed.read_text().replace(old, new))
    result = run("plan", after, "--against", before)
    return result.code, result.err.replace(f"{after}/", "")


def test_what_a_plan_from_files_refuses_has_its_file_and_line(run: Run, tmp_path: Path) -> None:
    code, said = refused(run, tmp_path, "platform.yaml", "asn: 64500", "asn: 64501")
    assert (code, "platform.yaml:3: platform: asn cannot change" in said) == (2, True)


def test_it_is_the_line_of_what_the_words_name(run: Run, tmp_path: Path) -> None:
    ports, wish = "ports: [80/tcp]", "aggregate: 203.0.112.0/24"
    code, said = refused(run, tmp_path, "web.yaml", ports, f"{ports}\n{wish}")
    number = (tmp_path / "after" / "web.yaml").read_text().splitlines().index(wish) + 1
    assert code == 2
    assert f"web.yaml:{number}: service web: it has 198.51.100.1 for life" in said


def test_a_variable_of_a_service_that_is_not_there_has_its_line(
    run: Run, tmp_path: Path
) -> None:
    new = "worker_processes 1; # ${pltfrms.service.api.address6}"
    code, said = refused(run, tmp_path, "web.yaml", "worker_processes 1;", new)
    number = (tmp_path / "after" / "web.yaml").read_text().splitlines().index("run:") + 1
    assert code == 2
    assert f"web.yaml:{number}: service web: run: ${{pltfrms.service.api.address6}}" in said


@pytest.mark.parametrize("command", [("plan",), ("apply", "--yes")])
def test_what_a_controller_refuses_has_its_file_and_line(
    run: Run,
    controller: FakeController,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    def refuse(_: object) -> None:
        raise UsageError("service web: 198.51.100.0/24 has no address left for service id 9")

    monkeypatch.setattr(controller, "plan", refuse)
    web = EXAMPLE / "web.yaml"
    number = web.read_text().splitlines().index("service: web") + 1
    result = run(*command, web)
    assert result.code == 2
    assert f"{web}:{number}: service web: 198.51.100.0/24 has no address left" in result.err


def test_a_secret_that_is_not_there_is_refused_in_its_line(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(change: Change) -> None:
        apply_change(HEALTHY, change)

    monkeypatch.setattr(controller, "plan", refuse)
    web, process = (EXAMPLE / "web.yaml").read_text(), "  process: [nginx"
    path = tmp_path / "web.yaml"
    path.write_text(web.replace(process, f"  secrets:\n    bd: {{file: db}}\n{process}"))
    result = run("plan", path)
    assert result.code == 2
    assert f"{path}:5: service web: run: there is no secret 'bd'; there are: none" in result.err
    assert "pltfrms secret set bd" in result.err


def test_files_alone_do_not_say_which_secrets_there_are(run: Run, tmp_path: Path) -> None:
    process = "  process: [nginx"
    uses = f"  secrets: {{db: {{file: db}}}}\n{process}"
    assert refused(run, tmp_path, "web.yaml", process, uses)[0] == 3
