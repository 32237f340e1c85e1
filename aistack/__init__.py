"""aistack: one OpenAI-compatible server that shares one GPU between speech and chat."""

__version__ = "0.1.0"
