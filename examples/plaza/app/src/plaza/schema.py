"""`python -m plaza.schema` makes the tables; run again, it changes nothing."""

import sys
from importlib.resources import files

import psycopg

from plaza.errors import SettingsError
from plaza.settings import Settings

VERSION = 1
# Two releases that start side by side must not both create tables.
ADVISORY_LOCK = 7_521_992


def create_schema(database_url: str) -> bool:
    """Create what is missing in one transaction; return whether anything changed."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions"
            " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        newest = connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchone()
        if newest is not None and newest[0] >= VERSION:
            return False
        connection.execute(files("plaza").joinpath("schema.sql").read_bytes())
        connection.execute("INSERT INTO schema_versions (version) VALUES (%s)", [VERSION])
    return True


def main() -> int:
    """Create the schema in PLAZA_DATABASE_URL; exit 2 on bad settings, 1 when the database refuses."""
    try:
        changed = create_schema(Settings.from_environment().database_url)
    except SettingsError as error:
        print(f"plaza.schema: {error}", file=sys.stderr)
        return 2
    except psycopg.Error as error:
        print(f"plaza.schema: {error}", file=sys.stderr)
        return 1
    print(f"schema version {VERSION}: {'created' if changed else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
