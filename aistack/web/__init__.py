"""HTTP: requests in, answers out. Handlers know nothing of backends; backends nothing of HTTP."""
