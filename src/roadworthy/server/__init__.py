"""The process around the layer: listeners, signals, drain. Built on uvicorn's Config and Server."""
