"""The rules that no plan may break, written a second time."""
