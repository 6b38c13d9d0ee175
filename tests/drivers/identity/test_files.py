"""The file of an identity, which several may write at once."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pltfrms.drivers.identity.files import IdentityFile, RootsFile, TrustedRoot
from pltfrms.drivers.identity.keys import make_key, make_request
from pltfrms.drivers.identity.tls import client_context, load_identity
from pltfrms.errors import UsageError
from tests.drivers.identity.authority import Office

NOW_MS = 1_900_000_000_000
OFFICE = Office("example", NOW_MS)


def test_a_certificate_that_comes_late_does_not_spoil_what_a_join_has_written(
    tmp_path: Path,
) -> None:
    file = OFFICE.identity(tmp_path, "fra-n1")
    late = OFFICE.signer.issue(file.read().request, "fra-n1", 1, controller=False)
    OFFICE.identity(tmp_path, "fra-n1", joins=2)
    before = file.path.read_bytes()
    with pytest.raises(UsageError, match="for another key"):
        file.renew(late, NOW_MS)
    assert file.path.read_bytes() == before


def test_writers_at_the_same_time_leave_a_key_and_its_own_certificate(tmp_path: Path) -> None:
    file = OFFICE.identity(tmp_path, "fra-n1")
    context = client_context(file, lambda _shown: "")
    problems: list[Exception] = []

    def try_often(what: Callable[[], None]) -> None:
        for _ in range(80):
            try:
                what()
            except (UsageError, OSError) as error:
                problems.append(error)

    def writer() -> Callable[[], None]:
        key = make_key()
        request = make_request(key, "example", "fra-n1")
        made = OFFICE.signer.issue(request, "fra-n1", 1, controller=False)
        return lambda: IdentityFile(tmp_path).write(key, request, made, NOW_MS)

    tasks = [writer(), writer(), lambda: load_identity(context, file)]
    threads = [threading.Thread(target=try_often, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    load_identity(context, file)


def test_who_runs_trusts_a_root_that_was_added_without_a_new_start(tmp_path: Path) -> None:
    file = OFFICE.identity(tmp_path, "fra-n1")
    context = client_context(file, lambda _shown: "")
    seen, own = file.changed_at(), OFFICE.root.certificate
    other = Office("example", NOW_MS).root.certificate
    added = [TrustedRoot(since_ms=n, certificate=each) for n, each in enumerate((own, other))]
    RootsFile(tmp_path).write(added)
    assert RootsFile(tmp_path).read() == tuple(added)
    assert file.changed_at() != seen
    for _ in range(2):
        load_identity(context, file)
        assert len(context.get_ca_certs()) == 2
    file.renew(OFFICE.signer.issue(file.read().request, "fra-n1", 1, controller=False), NOW_MS)
    assert file.read().roots == own + other, "what an operator has added does not go with it"
