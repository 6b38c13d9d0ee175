"""What fits one transaction of the store."""

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.drivers.store.ports import Put
from pltfrms.drivers.store.transaction import batches, check_transaction


@given(st.lists(st.sampled_from((0, 1, 300_000, 999_990)), max_size=130))
def test_batches_keep_the_order_and_each_fits_one_transaction(sizes: list[int]) -> None:
    writes = [Put(key=f"/a/{n}", value=b"x" * size) for n, size in enumerate(sizes)]
    found = list(batches(writes))
    assert [write for batch in found for write in batch] == writes
    for batch in found:
        assert batch
        check_transaction(batch, ())
