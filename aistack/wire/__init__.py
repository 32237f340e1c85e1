"""How an answer looks: chunks and results in, bytes out. Pure."""
