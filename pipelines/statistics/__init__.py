"""Statistics that stay right however often somebody looks: closed forms, no dependency."""
