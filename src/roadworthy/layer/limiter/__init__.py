"""Where the counts of a rate limit are kept: in this process, between workers, in Redis."""
