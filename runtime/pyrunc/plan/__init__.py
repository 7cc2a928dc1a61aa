"""The plan: what will be done for a bundle, as plain data, before anything is touched."""
