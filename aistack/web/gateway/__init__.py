"""The public API below `/v1`, and `/health`: one file per capability."""
