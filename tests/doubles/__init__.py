"""Stand-ins for the servers we relay to, that behave as the real sources do, bad days included."""
