"""What the worker processes of one machine share: a folder, counts, locks."""
