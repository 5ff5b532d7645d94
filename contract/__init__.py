"""The reference API as a document (``openapi.yaml``) and as tests that drive any implementation of it."""
