"""Fixtures shared by the contract tests."""

from collections.abc import Iterator

import pytest

from tests.contracts.etcd import EtcdCluster

SMALL_BYTES = 8 * 1024 * 1024


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """A cluster that all tests of a worker share; do not break it."""
    yield from _cluster(tmp_path_factory)


@pytest.fixture
def small_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """A cluster of one's own with a quota of 8 MiB, to fill."""
    yield from _cluster(tmp_path_factory, SMALL_BYTES)


@pytest.fixture
def mortal_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """A cluster of one's own, to break."""
    yield from _cluster(tmp_path_factory)


def _cluster(
    tmp_path_factory: pytest.TempPathFactory, quota_bytes: int = 0
) -> Iterator[EtcdCluster]:
    cluster = EtcdCluster(tmp_path_factory.mktemp("etcd"), quota_bytes=quota_bytes)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
