"""One running service: its parts put together, its life from start to drain."""
