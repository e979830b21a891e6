"""Task types: labels, rules and the classifier."""
