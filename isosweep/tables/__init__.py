"""Records into Parquet tables."""
