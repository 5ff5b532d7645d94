"""A small service with every behaviour right, and twins of it that each have one fault."""
