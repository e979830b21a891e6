"""The lake: which segments there are, whether to trust them, how they are replaced."""
