"""Every type that a consumer can see, and the strict converters to and from JSON. Pure."""
