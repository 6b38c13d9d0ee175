"""Records of operators are read fully, or not at all."""

import pytest

from pltfrms import codec
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import VersionError
from pltfrms.model.messages.audit import AuditPage
from tests.drivers.tiny_http import serving
from tests.model.messages.test_audit import chain


def test_records_with_what_the_next_release_has_are_not_called_broken() -> None:
    records, head = chain(2)
    page = AuditPage(records=tuple(records), head=head)
    text = codec.encode(page).decode()
    for said in ('"x"', '""'):
        newer = text.replace('"number":1,', f'"number":1,"of_the_next_release":{said},', 1)
        with serving(newer.encode()) as server, OperatorClient([server.endpoint]) as client:
            if said == '"x"':
                with pytest.raises(VersionError, match="does not know this field"):
                    client.audit(0, 9)
            else:
                assert client.audit(0, 9) == page
