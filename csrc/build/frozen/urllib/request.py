"""Stands before the stdlib's module, which jsonschema imports to fetch a remote `$ref`.

The executable opens no URL: a configuration must not make it talk to the network. It also spares
the import of http.client and email.
"""


def urlopen(url, *args, **kwargs):
    """Refuse."""
    raise OSError(f"pyrunc opens no URL: {url}")
