"""One instance: its first process, its files, its limits, and how it is found again."""
