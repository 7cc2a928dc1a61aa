"""The commands: a module for each verb, with `run(request) -> int`, that only joins what other modules do."""
