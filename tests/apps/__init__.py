"""Small real apps, one per framework, that the tests serve with and without the layer."""
