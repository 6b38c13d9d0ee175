"""A backup of a real store is put back into an empty one, by the commands of its page."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pltfrms.cli.machine import backing_up as commands
from pltfrms.cli.main import main
from pltfrms.codec import encode
from pltfrms.controller.records.state import PLATFORM_KEY, PREFIX, commit_mark, service_key
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.ports import KeyValue, Put
from pltfrms.specfile import load_platform
from tests.contracts.etcd import EtcdCluster
from tests.strategies import make_service, make_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "three-datacenters" / "platform.yaml"
PLATFORM = load_platform(EXAMPLE)


@contextmanager
def fresh_etcd(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, ...]]:
    """Have a store of one member that the commands use."""
    directory.mkdir()
    cluster = EtcdCluster(directory, size=1)
    cluster.start()
    monkeypatch.setattr(commands, "etcd_endpoints", lambda *_, **__: cluster.endpoints)
    try:
        yield cluster.endpoints
    finally:
        cluster.stop()


async def fill(endpoints: tuple[str, ...]) -> None:
    store = EtcdStore(endpoints)
    web = make_service(make_spec("web"))
    for number in range(300):
        await store.commit([Put(key="/x", value=str(number).encode())])
    await store.commit(
        [
            Put(key=PLATFORM_KEY, value=encode(PLATFORM)),
            Put(key=service_key("web"), value=encode(web)),
            commit_mark("test", 1),
        ]
    )
    await store.close()


async def listed(endpoints: tuple[str, ...]) -> tuple[int, dict[str, KeyValue]]:
    store = EtcdStore(endpoints)
    found = await store.list(PREFIX)
    await store.close()
    return found.revision, {each.key: each for each in found.entries}


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return directories of configuration and state, and a safe with the key."""
    config, state, safe = tmp_path / "config", tmp_path / "state", tmp_path / "safe"
    for directory in (config, state, safe):
        directory.mkdir()
    shutil.copy(EXAMPLE, config / "platform.yaml")
    (config / "machine").write_text("fra-c1\n")
    assert main(["backup", "key", str(safe), "--name", "example"]) == 0
    return config, state, safe


def test_a_lost_store_is_put_back_by_commands(
    tmp_path: Path,
    places: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, state, safe = places
    where = ("--config", str(config), "--state", str(state))
    with fresh_etcd(tmp_path / "one", monkeypatch) as endpoints:
        asyncio.run(fill(endpoints))
        assert main(["backup", "now", *where]) == 2
        assert "pltfrms backup key" in capsys.readouterr().err
        shutil.copy(safe / "backup.crt", config)
        assert main(["backup", "now", *where]) == 0
        revision, before = asyncio.run(listed(endpoints))
    (file,) = (state / "backups").iterdir()
    key = ("--key", str(safe / "backup.key"))
    restoring = ["backup", "restore", str(file), "--config", str(config), *key, "--yes"]
    with fresh_etcd(tmp_path / "two", monkeypatch) as endpoints:
        assert main(restoring) == 0
        now, after = asyncio.run(listed(endpoints))
        assert now > revision
        for each in (PLATFORM_KEY, service_key("web")):
            assert after[each].value == before[each].value
        capsys.readouterr()
        assert main(restoring) == 4
        assert "--replace" in capsys.readouterr().err
        assert main([*restoring, "--replace"]) == 0


def test_backups_are_listed_and_verified(
    tmp_path: Path,
    places: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config, state, safe = places
    where = ("--config", str(config), "--state", str(state))
    shutil.copy(safe / "backup.crt", config)
    assert main(["backup", "list", "--state", str(state)]) == 2
    with fresh_etcd(tmp_path / "one", monkeypatch) as endpoints:
        asyncio.run(fill(endpoints))
        assert main(["backup", "now", *where]) == 0
    (file,) = (state / "backups").iterdir()
    assert '"web"' not in file.read_text(), "quotes are in no letter of what is sealed"
    assert main(["backup", "list", "--state", str(state)]) == 0
    assert file.name in capsys.readouterr().out
    assert main(["backup", "verify", *where, "--key", str(safe / "backup.key")]) == 0
    assert "2 documents" in capsys.readouterr().out
    file.write_text(file.read_text().replace("A", "B", 1))
    assert main(["backup", "verify", *where]) == 4
    assert "damaged" in capsys.readouterr().out
