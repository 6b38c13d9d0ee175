"""Words of a spec that stand for a whole service, written out: nothing else knows them."""
