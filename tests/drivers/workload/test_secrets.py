"""Secrets of real instances: each is seen by its own instance, and by nobody else."""

import asyncio
import base64
import contextlib
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.sealing import NodeKey, seal
from pltfrms.drivers.workload import process
from pltfrms.drivers.workload.instance.instance_files import fingerprint_of
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.running.machine import Instance, InstanceSecret, InstanceSpec
from pltfrms.model.services.container import Container
from pltfrms.model.services.secrets import SECRET_BYTES_MAX, OnChange, SecretUse
from pltfrms.model.services.storage import Storage, VolumeSpec
from tests.contracts.test_workload import directories_below, image_store, spec
from tests.namespaces import in_machine
from tests.registry import busybox, push, registries_conf, registry, short_directory

__all__ = ["image_store"]
pytestmark = pytest.mark.root
Scenario = Callable[[ProcessRuntime], Coroutine[Any, Any, None]]
LOOKS = """
umask 0; printf 'said %s\\n' "$WORD" | tr a-z A-Z
stat -c 'mode %a of %u' PLACE/word; stat -f -c 'kept in %T' PLACE; tr a-z A-Z <PLACE/word
echo x 2>/dev/null >PLACE/more && echo written
exec sleep 1000
"""


def given(key: NodeKey, value: bytes, use: SecretUse) -> InstanceSecret:
    return InstanceSecret(use=use, version=1, about="x", sealed=seal(key.public, value, "x"))


def key_of(root: Path) -> NodeKey:
    key = NodeKey(directories_below(root).state)
    if not key.public:
        directories_below(root).state.mkdir(parents=True, exist_ok=True)
        key.make()
    return key


def wanted(root: Path, value: bytes, slot: int = 1, place: str = "secrets") -> InstanceSpec:
    key = key_of(root)
    use = SecretUse(name="word", variable="WORD", file="word")
    looks = LOOKS.replace("PLACE", place)
    return replace(
        spec(("sh", "-c", looks), slot),
        secrets=(given(key, value, use),),
        files=(("a.conf", "x"),),
    )


def run(root: Path, scenario: Scenario) -> None:
    async def whole() -> None:
        await scenario(ProcessRuntime(directories_below(root), KernelNetwork()))

    in_machine(whole)


async def log_with(root: Path, allocation: str, last: str) -> str:
    """Return the log of an instance as soon as it says that."""
    log = directories_below(root).log / "instances" / f"{allocation}.log"
    async with asyncio.timeout(30):
        while last not in log.read_text():  # noqa: ASYNC110 - it is another process's
            await asyncio.sleep(0.02)
    return log.read_text()


def mounts_of(pid: int) -> int:
    """Return the mount namespace of a process, which each instance has its own of."""
    return Path(f"/proc/{pid}/ns/mnt").stat().st_ino


def who_has(value: bytes) -> set[tuple[str, int]]:
    """Return what of /proc has a value in it, and of which instance the process is.

    Its init, which it cannot trace, has it in no part that is looked at.
    """
    found = set()
    for each in Path("/proc").iterdir():
        if not each.name.isdecimal() or int(each.name) == os.getpid():
            continue
        for part in ("cmdline", "environ"):
            with contextlib.suppress(OSError):  # it has just ended
                if value in (each / part).read_bytes():
                    found.add((part, mounts_of(int(each.name))))
    return found


async def seen_from(instance: Instance, place: Path) -> bytes:
    """Return what root in an instance is shown of processes, and of files in a place."""
    every = ("environ", "cmdline", "mounts")
    words = [f"/proc/[0-9]*/{part}" for part in every] + [f"{place}/*/*", f"{place}/*/*/*"]
    command = ("--all", f"--target={instance.pid}", "sh", "-c", f"cat {' '.join(words)}")
    asked = await asyncio.create_subprocess_exec(
        "nsenter", *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    seen, _ = await asked.communicate()
    return seen


def texts_in(directory: Path, pattern: str = "*") -> list[str]:
    return [each.read_text() for each in directory.glob(pattern)]


def files_with(root: Path, value: bytes) -> list[str]:
    return [
        str(each) for each in root.rglob("*") if each.is_file() and value in each.read_bytes()
    ]


def test_a_secret_is_seen_by_its_instance_and_by_nobody_else(tmp_path: Path) -> None:
    values = [f"{uuid4().hex}x" for _ in range(2)]

    async def scenario(runtime: ProcessRuntime) -> None:
        one = await runtime.start(wanted(tmp_path, values[0].encode()))
        two = await runtime.start(wanted(tmp_path, values[1].encode(), 2))
        for instance, value in ((one, values[0]), (two, values[1])):
            said = await log_with(
                tmp_path, instance.allocation, f"kept in ramfs\n{value.upper()}"
            )
            assert f"SAID {value.upper()}\nmode 400 of 0\n" in said
            assert "written" not in said
            assert who_has(value.encode()) == {("environ", mounts_of(instance.pid))}
            place = directories_below(tmp_path).state / "instances" / instance.allocation
            inside = Path(f"/proc/{instance.pid}/root", place.relative_to("/"), "secrets")
            assert texts_in(inside) == [value]
            assert texts_in(place / "secrets") == []
            assert files_with(tmp_path, value.encode()) == []
            seen = [await seen_from(each, place.parent) for each in (one, two)]
            assert [value.encode() in each for each in seen] == [
                value == each for each in values
            ]
        for instance in (one, two):
            await runtime.stop(instance, 0)
        assert not [each for each in texts_in(Path("/proc/self"), "mounts") if "ramfs" in each]
        for value in values:
            assert files_with(tmp_path, value.encode()) == []

    run(tmp_path, scenario)


def test_a_container_is_given_its_secrets_as_its_user(image_store: tuple[Path, str]) -> None:
    root, image = image_store
    value = f"{uuid4().hex}x"

    async def scenario(runtime: ProcessRuntime) -> None:
        asked = wanted(root, value.encode(), 9, "/run/pltfrms/secrets")
        box = Container(image=image, command=("/bin/sh", *asked.process[1:]), user="1000:1001")
        instance = await runtime.start(replace(asked, process=(), container=box))
        said = await log_with(root, instance.allocation, f"\n{value.upper()}")
        assert f"SAID {value.upper()}\nmode 400 of 1000\n" in said
        assert "written" not in said
        [(part, mounts)] = who_has(value.encode())
        assert part == "environ"
        assert mounts not in {mounts_of(os.getpid()), mounts_of(instance.pid)}
        assert files_with(root / "log", value.encode()) == []
        await runtime.stop(instance, 0)

    run(root, scenario)


USERS = "ci:$2a$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy"
PASSWORD = "open sesame"  # noqa: S105 - of the registry of a test, which wants it in bcrypt


def test_a_registry_is_shown_a_secret_that_no_instance_is_given() -> None:
    def login(root: Path, image: str, value: str) -> InstanceSpec:
        use = SecretUse(name="login", registry=True, on_change=OnChange.NOTHING)
        box = Container(image=image, command=("/bin/sh", "-c", "env; ls /run/pltfrms; echo ."))
        secret = given(key_of(root), value.encode(), use)
        return replace(spec(()), container=box, secrets=(secret,))

    async def refused(root: Path, image: str, value: str) -> str:
        runtime = ProcessRuntime(directories_below(root), KernelNetwork())
        with pytest.raises(UnavailableError) as error:
            await runtime.fetch(login(root, image, value))
        return str(error.value)

    async def scenario(root: Path) -> None:
        os.environ["CONTAINERS_REGISTRIES_CONF"] = str(registries_conf(root))
        with registry(root / "registry"):
            image = push("shop/web", busybox("env", "ls"))
        with registry(root / "registry", USERS):
            assert "is not user:password" in await refused(root, image, PASSWORD)
            assert PASSWORD not in (said := await refused(root, image, f"ci:x{PASSWORD}"))
            assert "auth" in said
            start = login(root, image, f"ci:{PASSWORD}\n")
            runtime = ProcessRuntime(directories_below(root), KernelNetwork())
            await runtime.fetch(start)
        seen = base64.b64encode(f"ci:{PASSWORD}".encode())
        assert files_with(root, PASSWORD.encode()) + files_with(root, seen) == []
        instance = await runtime.start(start)  # and nobody asks the registry again
        told = await log_with(root, instance.allocation, ".\n")
        assert PASSWORD not in told
        assert "secrets" not in told

    with short_directory() as root:
        in_machine(lambda: scenario(root))


def test_who_mounts_volumes_for_an_instance_is_told_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts, told = tmp_path / "mounts.py", tmp_path / "told"
    mounts.write_text(f"import shutil; shutil.copyfile('/proc/self/environ', {str(told)!r})")
    monkeypatch.setattr(process, "_MOUNTS", str(mounts))
    value = uuid4().hex.encode()
    data = VolumeSpec(name="data", path="/nowhere", size_bytes=1 << 20)

    async def scenario(runtime: ProcessRuntime) -> None:
        asked = wanted(tmp_path, value)
        kept = replace(asked, storage=Storage(volumes=(data,)), volume="db.fra.1@1")
        instance = await runtime.start(kept)
        assert b"PATH=" in told.read_bytes()
        assert value not in told.read_bytes()
        assert who_has(value) == {("environ", mounts_of(instance.pid))}
        await runtime.stop(instance, 0)

    run(tmp_path, scenario)


def test_an_instance_has_as_many_secrets_as_a_spec_may_name(tmp_path: Path) -> None:
    async def scenario(runtime: ProcessRuntime) -> None:
        asked = wanted(tmp_path, b"y" * SECRET_BYTES_MAX)
        [first] = asked.secrets
        many = tuple(
            replace(first, use=SecretUse(name="word", file=f"word{number}"))
            for number in range(100)
        )
        counts = "cat secrets/* | wc -c"
        counted = replace(asked, secrets=many, process=("sh", "-c", counts))
        instance = await runtime.start(counted)
        said = f"{100 * SECRET_BYTES_MAX}\n"
        assert await log_with(tmp_path, instance.allocation, said) == said

    run(tmp_path, scenario)


RELOADS = """
trap 'echo told; cat PLACE/word; stat -c "mode %a of %u" PLACE/word; ls -A PLACE' HUP
echo ready; while :; do sleep 0.05; echo x 2>/dev/null >PLACE/more && echo written; done
"""


def reloading(root: Path, value: bytes, place: str = "secrets") -> InstanceSpec:
    asked = wanted(root, value)
    use = SecretUse(name="word", file="word", on_change=OnChange.SIGNAL_HUP)
    [given_it] = asked.secrets
    script = ("sh", "-c", RELOADS.replace("PLACE", place))
    return replace(asked, process=script, secrets=(replace(given_it, use=use),))


async def see_a_renewal(
    root: Path, runtime: ProcessRuntime, of: Callable[[bytes], InstanceSpec], user: int
) -> None:
    one, two = (f"{uuid4().hex}\n".encode() for _ in range(2))
    instance = await runtime.start(of(one))
    await log_with(root, instance.allocation, "ready\n")
    assert not await runtime.renew_secrets(instance, of(one))
    assert await runtime.renew_secrets(instance, of(two))
    told = f"ready\ntold\n{two.decode()}mode 400 of {user}\nword\n"
    assert await log_with(root, instance.allocation, "\nword\n") == told
    assert not await runtime.renew_secrets(instance, of(two))
    assert await runtime.running() == {instance.allocation: instance}
    assert fingerprint_of(of(two)) == instance.fingerprint
    place = directories_below(root).state / "instances" / instance.allocation
    assert texts_in(place / "secrets") == []
    assert who_has(two.strip()) == set()
    await runtime.stop(instance, 0)


def test_a_signal_says_that_a_file_has_another_value(tmp_path: Path) -> None:
    run(
        tmp_path,
        lambda runtime: see_a_renewal(
            tmp_path, runtime, lambda value: reloading(tmp_path, value), 0
        ),
    )


def test_a_signal_says_so_to_a_container(image_store: tuple[Path, str]) -> None:
    root, image = image_store

    def boxed(value: bytes) -> InstanceSpec:
        asked = reloading(root, value, "/run/pltfrms/secrets")
        command = ("/bin/sh", *asked.process[1:])
        box = Container(image=image, command=command, user="1000:1001")
        return replace(asked, process=(), container=box)

    run(root, lambda runtime: see_a_renewal(root, runtime, boxed, 1000))


def test_what_cannot_be_opened_starts_nothing_and_is_not_said(tmp_path: Path) -> None:
    async def scenario(runtime: ProcessRuntime) -> None:
        asked = wanted(tmp_path, b"\xff\0")
        with pytest.raises(
            UsageError, match="secret word is no text, so it can only be a file"
        ):
            await runtime.start(asked)
        NodeKey(directories_below(tmp_path).state).make()
        with pytest.raises(UsageError, match="secret word: it is sealed for a key"):
            await runtime.start(asked)
        assert await runtime.running() == {}

    run(tmp_path, scenario)


def test_a_fingerprint_says_which_value_was_asked_for_and_nothing_of_it(tmp_path: Path) -> None:
    one, other = (wanted(tmp_path, value) for value in (b"one", b"two"))
    assert one.secrets != other.secrets
    assert fingerprint_of(one) == fingerprint_of(other)
    [secret] = one.secrets
    newer = replace(secret, use=replace(secret.use, version=2))
    assert fingerprint_of(replace(one, secrets=(newer,))) != fingerprint_of(one)
    assert secret.sealed not in repr(one)
