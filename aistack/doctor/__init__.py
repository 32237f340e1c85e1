"""`aistack doctor`: what works here, what is missing, what is broken, one file per kind of finding."""
