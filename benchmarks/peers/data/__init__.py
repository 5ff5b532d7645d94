"""The same three operations on the same table, as several libraries do them."""
