"""The internal inference API (seed 004): `/generate`, `/models`, `/models/swap`, `/stats`."""
