"""What makes no sense in who may read metrics."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pltfrms.model.network.readers import is_of_reader
from pltfrms.model.network.topology import Platform
from pltfrms.specfile.findings import Finding, check_name

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_HINT: Final = "write what `pltfrms metrics token NAME` says: 64 digits of 0-9 and a-f"


def check_readers(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with metrics readers. What they may have told us is not repeated."""
    counts = Counter(each.sha256 for each in platform.readers)
    for each in platform.readers:
        where = ("metrics", "readers", each.name)
        yield from check_name(where, each.name)
        if is_of_reader(each.sha256):
            yield Finding(where, "this is a token, which nobody may read here", _HINT)
        elif not _SHA256.fullmatch(each.sha256):
            yield Finding(where, "is not the SHA-256 of a token", _HINT)
        elif counts[each.sha256] > 1:
            yield Finding(where, "another reader has the same token", "make one for each")
