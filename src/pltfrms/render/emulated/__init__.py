"""The machines of the emulated internet."""
