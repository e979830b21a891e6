"""From a record to a sealed Parquet segment, and back again."""
