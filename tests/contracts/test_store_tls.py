"""Who gets into a store that speaks by TLS, as real members of it see it."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.drivers.identity.tls import load_identity, trusting_context
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import UnavailableError
from tests.contracts.conftest import PROGRAMS, cluster, program_of
from tests.contracts.etcd import EtcdCluster, store_files
from tests.drivers.identity.authority import Office

NOW_MS = 1_800_000_000_000
PUT = Put(key="/attack", value=b"")
Shows = Callable[[ssl.SSLContext, Path], None]


@pytest.fixture(scope="module", params=PROGRAMS)
def secure(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EtcdCluster]:
    program = program_of(request, request.param)
    yield from cluster(tmp_path_factory, program=program, secure=True)


def files_of(etcd: EtcdCluster) -> StoreFiles:
    assert etcd.files
    return etcd.files


def nothing(_context: ssl.SSLContext, _state: Path) -> None:
    """Show no certificate."""


def of_another_store(context: ssl.SSLContext, state: Path) -> None:
    """Show what members of another platform show that has the same name."""
    context.load_cert_chain(store_files(state).member)


def of_a_node(context: ssl.SSLContext, state: Path) -> None:
    """Show what was stolen from a node."""
    load_identity(context, Office("example", NOW_MS).identity(state, "fra-n1"))


def of_a_controller(context: ssl.SSLContext, state: Path) -> None:
    """Show what a controller shows to machines: nobody needs it here."""
    office = Office("example", NOW_MS)
    load_identity(context, office.identity(state, "fra-c1", controller=True))


def of_a_self_made_store(context: ssl.SSLContext, state: Path) -> None:
    """Show what the platform's own root has signed, for whatever name."""
    load_identity(context, Office("example", NOW_MS).identity(state, "store"))


def said(url: str, context: ssl.SSLContext) -> bytes:
    """Return what a member says to who shows something; nothing if it does not listen."""
    at = urlsplit(url)
    question = b"GET /version HTTP/1.0\r\n\r\n"
    with socket.create_connection((at.hostname, at.port), timeout=5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=at.hostname) as line:
                line.sendall(question)
                return line.recv(1000)
        except (ssl.SSLError, ConnectionError):
            return b""


@pytest.mark.parametrize(
    "shows",
    [nothing, of_another_store, of_a_node, of_a_controller, of_a_self_made_store],
)
def test_who_is_not_of_the_store_is_not_listened_to(
    secure: EtcdCluster, shows: Shows, tmp_path: Path
) -> None:
    files = files_of(secure)

    def attacking() -> ssl.SSLContext:
        context = trusting_context(files.trusted.read_text())
        shows(context, tmp_path)
        return context

    async def attack() -> None:
        store = EtcdStore(secure.endpoints, tls=attacking)
        try:
            with pytest.raises(UnavailableError):
                await store.commit([PUT])
            with pytest.raises(UnavailableError):
                await store.list("/")
            with pytest.raises(UnavailableError):
                await anext(store.changes("/", 0))
        finally:
            await store.close()

    for url in (secure.endpoints[0], secure.peers[0]):
        assert said(url, files.context()).startswith(b"HTTP/1.0 200"), "as the store's own"
        assert said(url, attacking()) == b""
    asyncio.run(attack())
    assert PUT.key not in asyncio.run(keys(secure))


async def keys(etcd: EtcdCluster) -> set[str]:
    store = EtcdStore(etcd.endpoints, tls=etcd.tls)
    try:
        return {each.key for each in (await store.list("/")).entries}
    finally:
        await store.close()


def test_who_speaks_plainly_is_not_listened_to(secure: EtcdCluster) -> None:
    async def attack() -> None:
        store = EtcdStore([each.replace("https:", "http:") for each in secure.endpoints])
        try:
            with pytest.raises(UnavailableError):
                await store.commit([PUT])
        finally:
            await store.close()

    asyncio.run(attack())
    assert PUT.key not in asyncio.run(keys(secure))


def test_who_has_nothing_to_show_says_so(tmp_path: Path) -> None:
    async def ask() -> None:
        store = EtcdStore(["https://127.0.0.1:1"], tls=StoreFiles(tmp_path).context)
        try:
            with pytest.raises(UnavailableError, match=r"store-authority\.pem"):
                await store.list("/")
        finally:
            await store.close()

    asyncio.run(ask())


def test_a_member_shows_a_newer_certificate_without_a_start(secure: EtcdCluster) -> None:
    files, at = files_of(secure), urlsplit(secure.endpoints[0])

    def shown() -> object:
        context = files.context()
        with (
            socket.create_connection((at.hostname, at.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=at.hostname) as line,
        ):
            assert line.version() == "TLSv1.3"
            return (line.getpeercert() or {}).get("serialNumber")

    before = shown()
    assert shown() == before
    files.furnish_member("m", (IPv4Address("127.0.0.1"),))
    assert shown() != before
