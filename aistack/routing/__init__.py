"""Who serves a request: the pure choice, and the facts about this machine that it is made from."""
