"""What is done to keep the store small, and when."""
