"""Which models failed of late and are left out."""
