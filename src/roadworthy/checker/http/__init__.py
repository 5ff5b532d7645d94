"""HTTP/1.1 as the checker speaks it: its own client, responses, content codings, the Fetch standard."""
