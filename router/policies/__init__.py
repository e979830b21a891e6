"""What a decision optimises, and who is in which experiment."""
