"""The DuckDB build database: loaded once, checked, published as a copy."""
