"""The controller's member of the store: begun, kept, recovered."""
