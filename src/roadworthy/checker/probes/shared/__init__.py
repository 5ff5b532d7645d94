"""What probes of several items use."""
