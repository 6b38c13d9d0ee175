"""What makes no sense in an emulated internet."""
