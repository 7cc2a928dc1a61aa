"""The commands: a module for each verb, with `run(request) -> int`, that joins what others do."""
