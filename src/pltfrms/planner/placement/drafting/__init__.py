"""The plan while it is made, and where one replica may go."""
