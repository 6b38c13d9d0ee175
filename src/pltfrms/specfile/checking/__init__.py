"""What makes no sense in words of the model, whoever wrote them."""
