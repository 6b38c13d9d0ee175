"""An instance is known by what it was started from, also to the next version of us."""

import hashlib
import json
from dataclasses import replace

from pltfrms.codec import encode
from pltfrms.drivers.workload.instance.instance_files import fingerprint_of
from pltfrms.model.running.machine import InstanceSecret, Outgoing, PortRules
from pltfrms.model.services.container import Container
from pltfrms.model.services.secrets import Generate, SecretUse
from tests.drivers.workload.test_limits import SPEC

BOX = Container(image="registry.example/web@sha256:" + "0a" * 32)


def test_processes_have_the_fingerprint_that_versions_before_containers_gave_them() -> None:
    fields = json.loads(encode(SPEC))
    for later in (
        "outgoing",
        "container",
        "storage",
        "volume",
        "adopted",
        "ports",
        "secrets",
        "binary",
        "modes",
        "live",
        "volume_made",
        "role_addresses",
        "lifetime_ms",
        "io",
        "elsewhere",
    ):
        del fields[later]
    text = json.dumps(fields, separators=(",", ":")).encode()
    assert fingerprint_of(SPEC) == hashlib.sha256(text).hexdigest()[:16]


def test_a_secret_is_the_same_whether_it_was_generated_or_given() -> None:
    given = InstanceSecret(use=SecretUse(name="db", file="db"), version=1, about="", sealed="")
    made = replace(given, use=replace(given.use, generate=Generate.PASSWORD))
    with_secret = replace(SPEC, secrets=(given,))
    assert fingerprint_of(with_secret) == fingerprint_of(replace(SPEC, secrets=(made,)))
    # As the release before there was `generate` had it.
    assert fingerprint_of(with_secret) == "0a210485c0ce0ab4"


def test_a_container_is_told_from_another_one_and_from_itself_by_nothing() -> None:
    boxed = replace(SPEC, process=(), container=BOX)
    later = replace(boxed, outgoing=Outgoing(), ports=PortRules(text="x"), live=(("a", "b"),))
    assert fingerprint_of(boxed) == fingerprint_of(later)
    containers = (
        replace(BOX, image=BOX.image + "0"),
        replace(BOX, args=("x",)),
        replace(BOX, user="1"),
        replace(BOX, read_only=False),
        replace(BOX, capabilities=("KILL",)),
    )
    others = [SPEC, *(replace(boxed, container=each) for each in containers)]
    assert fingerprint_of(boxed) not in {fingerprint_of(other) for other in others}
