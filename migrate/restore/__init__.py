"""How databases, caches, media and releases are rebuilt, and proved."""
