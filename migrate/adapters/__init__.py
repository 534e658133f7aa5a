"""The only places that meet the outside world: one module a library."""
