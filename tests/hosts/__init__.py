"""Several hosts on one machine: services in network namespaces of their own, with what they share."""
