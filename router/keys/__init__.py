"""Virtual keys, and the trail of who changed them."""
