"""cloudexit: takes a social app off a cloud provider that drops it."""
