"""Bodies on their way in: JSON, forms, relayed bytes, and the spool files of uploads."""
