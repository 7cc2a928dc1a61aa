"""Everything that reads and judges config.json; it never touches the container or the kernel."""
