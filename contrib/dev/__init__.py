"""What the test suite, CI and CONTRIBUTING need; see contrib/README.md."""
