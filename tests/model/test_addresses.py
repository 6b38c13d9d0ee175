"""Texts that are addresses of ours."""

import pytest

from pltfrms.errors import UsageError
from pltfrms.model.addresses import read_prefix


@pytest.mark.parametrize("text", ["2001:db8::7%eth0", "2001:db8::%eth0/48"])
def test_what_means_something_on_one_machine_alone_is_no_prefix(text: str) -> None:
    with pytest.raises(UsageError, match="has a scope; leave out %eth0"):
        read_prefix(text)
