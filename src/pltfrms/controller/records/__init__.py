"""What is in the store, and how it is read and written down."""
