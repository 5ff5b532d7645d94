"""``roadworthy.toml``: the model, the reader and the writer, and what is inferred without one."""
