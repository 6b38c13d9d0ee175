"""What a file is refused for says what to write instead, and only that."""

from pathlib import Path

import pytest

from pltfrms.errors import SpecError
from pltfrms.specfile import load_service

WEB = """\
service: web
run: {process: [web]}
replicas: {per_datacenter: 1}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "probe: {udp: 53}",
            "probe.udp: must be a mapping, not the number 53 (such as {port: ..., send: ...})",
        ),
        ("probe: {grpc: {service: a}}", "probe.grpc.port: is missing (add port:)"),
        (
            "probe: {exec: pg -q}",
            "probe.exec: must be a list, not the text 'pg -q' (such as [pg, -q])",
        ),
        (
            "probe: {dns: {name: a, port: 5353}}",
            "probe.dns.port: unknown field (it is a field of probe)",
        ),
        (
            "probe: {tcp: 80}\nliveness: {tcp: 80, restart: false}",
            "liveness.restart: unknown field (it is a field of probe)",
        ),
        (
            "probe: {tcp: 80, tls: true}",
            "probe.tls: must be a mapping, not true (with some of ca, name, verify)",
        ),
        (
            "probe: {dns: {name: a, answer: '::1'}}",
            "probe.dns.answer: '::1' is not an address of A (type: A has IPv4, and AAAA IPv6)",
        ),
    ],
)
def test_one_mistake_is_said_once_with_what_to_write(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "web.yaml"
    path.write_text(f"{WEB}{text}\n")
    with pytest.raises(SpecError) as refused:
        load_service(path)
    line = 4 + text.count("\n")
    assert [str(each) for each in refused.value.problems] == [f"{path}:{line}: {said}"]
