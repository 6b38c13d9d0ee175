"""What a controller is given beside its store."""

from dataclasses import dataclass, field

from pltfrms.controller.keeping.backups import Backups
from pltfrms.controller.records.values import Values
from pltfrms.drivers.aside import Here
from pltfrms.drivers.ports import Aside
from pltfrms.drivers.store.ports import Members, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """What has means of its own, so that it waits for nothing else, or nothing for it."""

    lease_store: Store
    """Another client of the same store, of which heartbeats alone make use."""
    aside: Aside = field(default_factory=Here)
    """Where what takes long is computed."""
    members: Members | None = None
    """The members of the store; None: nobody looks how large they are."""
    backups: Backups | None = None
    """None: nothing seals them, so there are none."""
    values: Values = field(default_factory=Values)
    """What opens secrets; by default nothing does."""
