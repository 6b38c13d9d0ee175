"""What operators and agents may ask of a controller, and who they are."""
