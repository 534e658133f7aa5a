"""Plaza: a small social app on PostgreSQL, Redis and a media store of one's choice."""
