"""The operator's API below `/admin`, and the console."""
