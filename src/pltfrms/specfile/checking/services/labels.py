"""Labels, which services and jobs have for people, and for who applies only what is his."""

import re
from collections.abc import Iterator

from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.service import GROUP, ServiceSpec
from pltfrms.specfile.findings import Finding, check_name

_LABEL = re.compile(r"[a-z][a-z0-9./-]{0,62}\Z")
_LABELLED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_MOST_LABELS = 32


def check_labels(spec: ServiceSpec | JobSpec) -> Iterator[Finding]:
    """Yield what is wrong with the labels of a service or a job."""
    if spec.group:
        yield from check_name(("group",), spec.group)
    if len(spec.labels) > _MOST_LABELS:
        yield Finding(("labels",), f"has {len(spec.labels)}, at most {_MOST_LABELS} fit")
    for name, text in spec.labels:
        if not _LABEL.match(name) or name == GROUP:
            hint = "group: says it" if name == GROUP else "such as team"
            yield Finding(("labels", name), f"{name[:70]!r} is not the name of a label", hint)
        if not _LABELLED.match(text):
            what = f"{text[:70]!r} is not what a label can say"
            yield Finding(("labels", name), what, "1 to 63 letters, digits, -, _ and dots")
