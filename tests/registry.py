"""A registry on loopback, and images made from nothing."""

import contextlib
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1:5000"
_OCI = "application/vnd.oci.image"
_FILE = 0o755
_Content = bytes | Path | tuple[int, int]


def registries_conf(directory: Path) -> Path:
    """Write what has podman ask the registry without TLS; for CONTAINERS_REGISTRIES_CONF."""
    path = directory / "registries.conf"
    path.write_text(conf_text())
    return path


def conf_text(name: str = HOST, where: str = HOST) -> str:
    """Return what has podman find the registry of a name elsewhere, without TLS."""
    return f'[[registry]]\nprefix = "{name}"\nlocation = "{where}"\ninsecure = true\n'


@contextlib.contextmanager
def short_directory() -> Iterator[Path]:
    """Make a directory for a store: podman takes no long names for it."""
    path = Path(tempfile.mkdtemp(prefix="pi"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextlib.contextmanager
def registry(directory: Path, users: str = "") -> Iterator[None]:
    """Run one in this network namespace; for `users` alone, as a line of htpasswd says it."""
    process = start_registry(directory, users=users)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def start_registry(
    directory: Path, listen: str = HOST, users: str = "", log: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start one in this network namespace, whose `lo` is brought up; return when it answers.

    With `log`, it says there whom it answered.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "registry.yml"
    passwords = directory / "htpasswd"
    passwords.write_text(f"{users}\n")
    auth = {"htpasswd": {"realm": "tests", "path": str(passwords)}}
    storage = {"filesystem": {"rootdirectory": str(directory / "blobs")}}
    config.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"accesslog": {"disabled": log is None}, "level": "error"},
                "storage": storage,
                "http": {"addr": listen},
                **({"auth": auth} if users else {}),
            }
        )
    )
    subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(
        ("docker-registry", "serve", str(config)),
        stdin=nowhere,
        stdout=log.open("wb") if log else nowhere,
        stderr=nowhere,
        start_new_session=True,
    )
    for _ in range(600):
        assert process.poll() is None, "the registry ended"
        with contextlib.suppress(OSError):
            with contextlib.suppress(urllib.error.HTTPError):  # it wants to know who asks
                _ask("GET", "/v2/")
            return process
        time.sleep(0.05)
    raise AssertionError("the registry does not answer")


def push(
    name: str,
    files: Mapping[str, _Content],
    *,
    entrypoint: Sequence[str] = (),
    user: str = "",
    tag: str = "",
) -> str:
    """Push an image with these files, also by a tag; return its name with its digest."""
    layer = _tar(files)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": user, "Env": ["MADE=here"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    ).encode()
    packed = gzip.compress(layer, 1, mtime=0)
    for blob in (packed, config):
        where = _ask("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
        joint = "&" if "?" in where else "?"
        _ask("PUT", f"{where}{joint}digest={_digest(blob)}", blob, "application/octet-stream")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _described(f"{_OCI}.config.v1+json", config),
            "layers": [_described(f"{_OCI}.layer.v1.tar+gzip", packed)],
        }
    ).encode()
    digest = _digest(manifest)
    for word in filter(None, (digest, tag)):
        _ask("PUT", f"/v2/{name}/manifests/{word}", manifest, f"{_OCI}.manifest.v1+json")
    return f"{HOST}/{name}@{digest}"


def busybox(*applets: str) -> dict[str, _Content]:
    """Return the files of an image that is busybox under these names, with /bin/sh."""
    path = Path(shutil.which("busybox") or "/bin/busybox")
    return {f"bin/{name}": path.read_bytes() for name in ("busybox", "sh", *applets)}


def tiny_server(directory: Path) -> bytes:
    """Return a program that needs nothing beside it: a web server that says its argument."""
    compiler = shutil.which("clang") or shutil.which("clang-14") or "cc"
    program = directory / "tiny_server"
    source = Path(__file__).with_name("tiny_server.c")
    subprocess.run((compiler, "-static", "-Os", "-o", program, source), check=True)
    return program.read_bytes()


def _tar(files: Mapping[str, _Content]) -> bytes:
    """Pack files; a Path is a symbolic link to it, two numbers are a device.

    The same content is there once.
    """
    packed = io.BytesIO()
    there: dict[bytes, str] = {}
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mode = _FILE
            if isinstance(content, Path):
                info.type, info.linkname = tarfile.SYMTYPE, str(content)
                tar.addfile(info)
            elif isinstance(content, tuple):
                info.type, (info.devmajor, info.devminor) = tarfile.CHRTYPE, content
                tar.addfile(info)
            elif content in there:
                info.type, info.linkname = tarfile.LNKTYPE, there[content]
                tar.addfile(info)
            else:
                there[content] = name
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def _described(kind: str, blob: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _ask(verb: str, path: str, body: bytes | None = None, kind: str = "text/plain") -> "Answer":
    url = path if path.startswith("http") else f"http://{HOST}{path}"
    headers = {"Content-Type": kind}
    request = urllib.request.Request(url, body, headers, method=verb)  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
        return Answer(dict(answer.headers))


class Answer:
    """What a registry said."""

    def __init__(self, headers: dict[str, str]) -> None:
        """Keep the headers."""
        self.headers = headers
