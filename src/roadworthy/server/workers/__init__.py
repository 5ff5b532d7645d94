"""Several processes that serve together, and the one that starts and replaces them."""
