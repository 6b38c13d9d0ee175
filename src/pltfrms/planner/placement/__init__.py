"""What runs where: from what is wanted to steps that bring it about."""
