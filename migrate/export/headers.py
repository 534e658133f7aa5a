"""Which response headers describe an object rather than the response that brought it."""

from collections.abc import Mapping

from migrate.export.verification import CHECKSUM_HEADER

KEPT_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
        "x-amz-mp-parts-count",
        "x-amz-object-lock-legal-hold",
        "x-amz-object-lock-mode",
        "x-amz-object-lock-retain-until-date",
        "x-amz-replication-status",
        "x-amz-server-side-encryption",
        "x-amz-storage-class",
        "x-amz-version-id",
        "x-amz-website-redirect-location",
    }
)


def describing(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that the ledger keeps; names in lower case."""
    return {name: value for name, value in headers.items() if name in KEPT_HEADERS or name.startswith(CHECKSUM_HEADER)}
