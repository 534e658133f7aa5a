"""`publish_release.py FILE` puts a release tarball into the bucket plaza-releases, unless it is there already."""

import hashlib
import sys
from pathlib import Path

from plaza.media import open_s3

BUCKET = "plaza-releases"
ENDPOINT = "endpoint_url=http://127.0.0.1:9000"


def main() -> int:
    """Compare by MD5, which the ETag of an object that was put in one piece is. Exit 1 if the endpoint refuses."""
    path = Path(sys.argv[1])
    key = f"plaza/{path.name}"
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    client, refusals = open_s3(ENDPOINT)
    try:
        found = client.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents", [])
        if any(entry["Key"] == key and entry["ETag"].strip('"') == digest for entry in found):
            print("unchanged")
            return 0
        with path.open("rb") as body:
            client.put_object(Bucket=BUCKET, Key=key, Body=body, ContentType="application/gzip")
    except refusals as error:
        print(f"publish_release: {error}", file=sys.stderr)
        return 1
    print(f"published s3://{BUCKET}/{key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
