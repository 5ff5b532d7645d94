"""WebSockets: the handshake, the connection, and what all of them share."""
