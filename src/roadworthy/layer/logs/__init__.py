"""The way of a log record: routed, redacted, written as text, handed to the stream."""
