"""What the pipelines learnt, and what it means for a choice."""
