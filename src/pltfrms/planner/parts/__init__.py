"""What a service may ask of its part of the store."""
