"""The service under test: its process, its ports, how it is started and stopped."""
