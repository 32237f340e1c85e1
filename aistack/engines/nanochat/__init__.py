"""Tokens from local weights: the engine behind `/generate`, its weights, tokenizer and sampling."""
