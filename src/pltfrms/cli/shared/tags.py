"""Tags of images: what they name is asked once, by who applies; the digest is what counts."""

import subprocess
from dataclasses import replace
from functools import cache
from typing import Final, TypeVar

from pltfrms.cli.shared.output import echo
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.services.container import tag_of
from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.service import ServiceSpec

_Spec = TypeVar("_Spec", ServiceSpec, JobSpec)
_SECONDS: Final = 30
_ASK: Final = ("skopeo", "inspect", "--no-tags", "--format", "{{.Digest}}")
_NONE_SUCH: Final = ("manifest unknown", "name unknown")
"""What registries say of what they do not have, as they must."""


def with_digests(change: Change) -> Change:
    """Return a change whose images are named by their digests.

    Raises:
        UsageError: a registry does not have a tag, or there is nobody who could ask it.
        UnavailableError: a registry does not answer, or not us.
    """
    services = tuple(_with_digest(f"service {each.name}", each) for each in change.services)
    jobs = tuple(_with_digest(f"job {each.name}", each) for each in change.jobs)
    return replace(change, services=services, jobs=jobs)


def _with_digest(about: str, spec: _Spec) -> _Spec:
    container = spec.run.container
    if container is None or not tag_of(container.image):
        return spec
    image = f"{container.image.rpartition(':')[0]}@{_digest(container.image, about)}"
    return replace(spec, run=replace(spec.run, container=replace(container, image=image)))


def _digest(image: str, about: str) -> str:
    """Return what a tag means now."""
    try:
        done = _asked(image)
    except OSError as error:
        what = "nobody can ask for its tag here: install skopeo, or write the digest"
        raise UsageError(f"{about}: run.image: {what} ({error.strerror})") from error
    if done.returncode:
        said = done.stderr.strip().rpartition("msg=")[2].strip('"')[-300:]
        if any(each in said for each in _NONE_SUCH):
            raise UsageError(f"{about}: run.image: its registry has no {image}: {said}")
        raise UnavailableError(f"{about}: its registry does not say what {image} is: {said}")
    return done.stdout.strip()


@cache
def _asked(image: str) -> "subprocess.CompletedProcess[str]":
    """Ask once in the life of a command, and say what the answer is."""
    words = (*_ASK, f"docker://{image}")
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"no answer within {_SECONDS} s")
    if not done.returncode:
        echo(f"note: {image} is {done.stdout.strip()}", err=True)
    return done
