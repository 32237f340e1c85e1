"""Other people's servers behind our API: Ollama, the speech container, and what every relay shares."""
