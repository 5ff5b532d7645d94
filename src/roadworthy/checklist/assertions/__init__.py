"""The promises of the checklist: one module per item and per pattern, named after it."""
