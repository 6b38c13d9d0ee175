"""What is to run, and what a service needs of the network."""
