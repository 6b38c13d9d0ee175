"""What makes no sense in the hooks of a service."""

from collections.abc import Iterator

from pltfrms.model.services.hooks import HookMoment
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.findings import Finding


def check_hooks(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield what is wrong with the hooks of a service by themselves."""
    if spec.hooks and not (spec.storage and spec.storage.volumes):
        yield Finding(("hooks",), "they are for replicas with volumes", "leave it out")
    for each in spec.hooks:
        where = ("hooks", each.moment.value)
        if not each.command or not each.command[0]:
            yield Finding((*where, "run"), "there is no command", "such as [pg-hand-over]")
        for index, word in enumerate(each.command):
            if "\0" in word or any("\ud800" <= letter <= "\udfff" for letter in word):
                what = "has characters that no program can be given"
                yield Finding((*where, "run", index), what)
        if not 1000 <= each.timeout_ms <= 600_000:  # noqa: PLR2004 (as the message says)
            yield Finding((*where, "timeout"), "is outside 1s..10m")
        alone = any(not role.shared for role in spec.roles)
        if each.moment is HookMoment.HAND_OVER and not alone:
            what = "there is no role that one alone may have"
            yield Finding(where, what, "add one to roles, or leave it out")
