"""Paper A: what makes the weights of its own size, on one GPU."""
