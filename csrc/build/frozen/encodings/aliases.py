"""Present because the locale module imports it."""

aliases = {}
