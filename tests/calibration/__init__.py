"""Stock servers, as people start them, and the verdicts that the checker must reach on them."""
