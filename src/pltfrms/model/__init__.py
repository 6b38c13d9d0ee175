"""The words of the platform, as frozen dataclasses. Standard library only."""
