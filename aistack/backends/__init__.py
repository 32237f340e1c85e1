"""The old name of `aistack.engines`, for engines in other packages. Goes with the next release."""
