"""From outcomes to the score snapshot that the router reads."""
