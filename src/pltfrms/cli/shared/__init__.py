"""What commands of every room use: options, output, who answers, what a change does."""
