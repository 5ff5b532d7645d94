"""The promises of the layer, seen on the wire, for every framework under every server."""
