"""The command `pltfrms`."""
