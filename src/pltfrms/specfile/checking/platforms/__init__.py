"""What makes no sense in a platform."""
