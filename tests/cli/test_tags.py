"""A tag of an image in a file: asked for once, by who applies; what counts is its digest."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.cli.shared import tags
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.messages.api import Change, ChangeLine
from pltfrms.model.services.container import Container
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile import check_job, check_service, load_file
from tests.cli.conftest import Run
from tests.cli.world import PLATFORM, WEB, FakeController
from tests.namespaces import in_machine
from tests.registry import HOST, push, registries_conf, registry

DIGEST = f"sha256:{'0a' * 32}"
SPEC = """\
service: NAME
run:
  image: a.example/web:1.4
  cpu: 0.1
  memory: 32MiB
replicas: {per_datacenter: 1}
ports: [80/tcp]
probe: {tcp: 80}
"""
JOB = "job: once\nrun:\n  image: a.example/web:1.4\n  cpu: 0.1\n  memory: 32MiB\ntimeout: 9s\n"
PLATFORM_FILE = Path("examples/three-datacenters/platform.yaml")
NEW = (ChangeLine(about="service/one", action="create", detail="1 per datacenter"),)
Stand = Callable[[str], Path]


@pytest.fixture
def skopeo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Put a program there that does this in place of skopeo, and keeps what it was asked."""
    tags._asked.cache_clear()
    asked = tmp_path / "asked"
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")

    def stand_in(does: str) -> Path:
        program = place / "skopeo"
        program.write_text(f'#!/bin/sh\necho "$*" >>{asked}\n{does}\n')
        program.chmod(0o755)
        return asked

    return stand_in


def files(directory: Path, *names: str) -> Path:
    place = directory / "specs"
    place.mkdir()
    for name in names:
        (place / f"{name}.yaml").write_text(SPEC.replace("NAME", name))
    (place / "once.yaml").write_text(JOB)
    return place


def test_a_tag_is_asked_for_once_and_its_digest_is_applied(
    run: Run, controller: FakeController, skopeo: Stand, tmp_path: Path
) -> None:
    controller.changes = NEW
    asked = skopeo(f"echo {DIGEST}")
    result = run("apply", files(tmp_path, "one", "two"), "--yes")
    assert result.code == 0, result.err
    (change,) = controller.applied
    runs = [*(each.run for each in change.services), *(each.run for each in change.jobs)]
    images = [each.container.image for each in runs if each.container]
    assert images == [f"a.example/web@{DIGEST}"] * 3
    ask = "inspect --no-tags --format {{.Digest}} docker://a.example/web:1.4\n"
    assert asked.read_text() == ask
    assert f"note: a.example/web:1.4 is {DIGEST}" in result.err.splitlines()


def test_what_names_its_digest_asks_nobody(
    run: Run, controller: FakeController, skopeo: Stand, tmp_path: Path
) -> None:
    controller.changes = NEW
    asked = skopeo("exit 1")
    spec = tmp_path / "web.yaml"
    spec.write_text(SPEC.replace("NAME", "web").replace(":1.4", f"@{DIGEST}"))
    assert run("apply", spec, "--yes").code == 0
    assert (len(controller.applied), asked.exists()) == (1, False)


@pytest.mark.parametrize(
    "case",
    [
        ("manifest unknown", 2, "one.yaml:2: service one: run.image: its registry has no a"),
        ("connection refused", 5, "service one: its registry does not say what a"),
    ],
)
def test_a_tag_that_means_nothing_now_changes_nothing(
    run: Run,
    controller: FakeController,
    skopeo: Stand,
    tmp_path: Path,
    case: tuple[str, int, str],
) -> None:
    said, code, says = case
    skopeo(f"""echo 'time="now" level=fatal msg="{said}"' >&2; exit 1""")
    result = run("apply", files(tmp_path, "one"), "--yes")
    assert (result.code, controller.applied) == (code, [])
    assert says in result.err


def test_without_skopeo_it_is_said_what_to_do(
    run: Run, controller: FakeController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags._asked.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("plan", files(tmp_path, "one"))
    assert (result.code, controller.asked) == (2, [])
    assert "install skopeo, or write the digest" in result.err


def test_a_registry_that_hangs_is_waited_for_once(
    run: Run, controller: FakeController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[str, ...]]()

    def hang(words: tuple[str, ...], *, timeout: float, **_: object) -> None:
        asked.append(words)
        raise subprocess.TimeoutExpired(words, timeout)

    tags._asked.cache_clear()
    monkeypatch.setattr(subprocess, "run", hang)
    place = files(tmp_path, "one")
    for _ in range(2):
        result = run("plan", place)
        assert (result.code, controller.asked) == (5, [])
        assert "no answer within 30 s" in result.err
    assert len(asked) == 1


def test_files_are_compared_as_they_stand(run: Run, skopeo: Stand, tmp_path: Path) -> None:
    asked, old = skopeo("exit 1"), files(tmp_path)
    new = tmp_path / "new"
    shutil.copytree(old, new)
    for place in (old, new):
        shutil.copy(PLATFORM_FILE, place)
    (new / "one.yaml").write_text(SPEC.replace("NAME", "one"))
    result = run("plan", new, "--against", old)
    assert (result.code, asked.exists()) == (3, False), result.err
    assert "service/one" in result.out
    result = run("plan", new / "one.yaml", "--against", old)
    assert (result.code, asked.exists()) == (3, False), result.err


def test_controllers_are_told_no_tag(tmp_path: Path) -> None:
    web = _boxed("a.example/web:1.4")
    (problem,) = check_service(web, PLATFORM)
    assert (problem.where, problem.what) == (
        "run.image",
        "it names a tag, which may be another image tomorrow",
    )
    (tmp_path / "once.yaml").write_text(JOB)
    job = load_file(tmp_path / "once.yaml")
    assert [each.where for each in check_job(job, PLATFORM)] == ["run.image"]  # type: ignore[arg-type]


@pytest.mark.root
def test_a_registry_is_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        ours = tmp_path / ".config" / "containers"
        ours.mkdir(parents=True)
        registries_conf(ours)
        os.environ |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / ".config")}
        with registry(tmp_path):
            named = push("shop/web", {"hello": b"world"}, tag="1.4")
            change = tags.with_digests(Change(services=(_boxed(f"{HOST}/shop/web:1.4"),)))
            (box,) = (each.run.container for each in change.services)
            assert box is not None
            assert box.image == named
            with pytest.raises(UsageError, match="its registry has no"):
                tags.with_digests(Change(services=(_boxed(f"{HOST}/shop/web:1.5"),)))
        with pytest.raises(UnavailableError, match="its registry does not say what"):
            tags.with_digests(Change(services=(_boxed(f"{HOST}/shop/web:1.6"),)))

    in_machine(scenario)


def _boxed(image: str) -> ServiceSpec:
    run = replace(WEB.spec.run, process=(), container=Container(image=image))
    return replace(WEB.spec, run=run)
