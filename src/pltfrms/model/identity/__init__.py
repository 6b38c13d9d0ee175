"""Who a machine is: names in certificates, tokens, how long they are good for."""
