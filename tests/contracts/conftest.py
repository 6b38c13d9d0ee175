"""Fixtures shared by the contract tests."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.etcd import EtcdCluster, store_files

SMALL_BYTES = 8 * 1024 * 1024
NEWER = "etcd 3.5"
"""That of Debian 13."""
PROGRAMS = ("etcd", NEWER)
BY_TLS = " by TLS"
TREES = Path("/var/cache/pltfrms/trees")
"""Where `scripts/make-tree` keeps what it makes."""


@pytest.fixture(scope="session")
def newer_etcd(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The etcd of Debian 13, where a tree of it was made; it is one static program."""
    found = sorted(TREES.glob("trixie-*/var/cache/apt/archives/etcd-server_3.5*.deb"))
    if not found:
        pytest.skip(f"no etcd 3.5 below {TREES}")
    directory = tmp_path_factory.mktemp("newer")
    subprocess.run(["dpkg-deb", "-x", found[-1], directory], check=True, timeout=60)
    return str(directory / "usr/bin/etcd")


def program_of(request: pytest.FixtureRequest, name: str) -> str:
    """Return the program of one of `PROGRAMS`; skip the test where it is not."""
    known = name.removesuffix(BY_TLS)
    return str(request.getfixturevalue("newer_etcd")) if known == NEWER else known


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """A cluster that all tests of a worker share; do not break it."""
    yield from cluster(tmp_path_factory)


@pytest.fixture(scope="session")
def etcd_by_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """The same, which believes those alone who show that they may ask."""
    yield from cluster(tmp_path_factory, secure=True)


@pytest.fixture
def small_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """A cluster of one's own with a quota of 8 MiB, to fill."""
    yield from cluster(tmp_path_factory, SMALL_BYTES)


@pytest.fixture
def mortal_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """A cluster of one's own, to break."""
    yield from cluster(tmp_path_factory)


def cluster(
    tmp_path_factory: pytest.TempPathFactory,
    quota_bytes: int = 0,
    program: str = "etcd",
    *,
    secure: bool = False,
) -> Iterator[EtcdCluster]:
    """Run a cluster of three members; `secure`: by TLS."""
    made = EtcdCluster(
        tmp_path_factory.mktemp("etcd"),
        quota_bytes=quota_bytes,
        program=program,
        files=store_files(tmp_path_factory.mktemp("state")) if secure else None,
    )
    try:
        made.start()
        yield made
    finally:
        made.stop()
