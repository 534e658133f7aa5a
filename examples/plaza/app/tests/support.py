"""What several tests need."""

from datetime import UTC, datetime
from io import BytesIO

from PIL import Image

PASSWORD = "redis password of the tests"
DEMO_PASSWORD = "correct horse battery staple"
UNTIL = datetime(2026, 11, 1, 12, tzinfo=UTC)


def jpeg(colour: str = "teal", size: tuple[int, int] = (900, 600), exif: Image.Exif | None = None) -> bytes:
    """A picture as a phone would send it."""
    buffer = BytesIO()
    Image.new("RGB", size, colour).save(buffer, "JPEG", exif=exif or Image.Exif())
    return buffer.getvalue()
