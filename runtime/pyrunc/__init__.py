"""pyrunc, an OCI runtime."""
