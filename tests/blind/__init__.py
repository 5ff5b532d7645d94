"""Twins written blind: from the sentences of the assertions alone, without a look at a probe."""
