"""The part of D-Bus that a caller of a service needs: method calls, their answers, and signals.

Own code, because the import of jeepney's message part alone takes longer than a whole `create`
(docs/performance.md). Imported only where systemd manages cgroups.
"""
