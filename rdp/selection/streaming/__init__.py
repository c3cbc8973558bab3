"""Tables of any size, solved in passes over their Parquet files."""
