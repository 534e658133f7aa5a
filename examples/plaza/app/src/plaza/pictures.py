"""Pictures as they come in, and their thumbnails."""

import hashlib
import warnings
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

from plaza.errors import InvalidInput

MAXIMUM_BYTES = 10 * 1024 * 1024
MAXIMUM_PIXELS = 40_000_000
LONGEST_SIDE = 2048
THUMBNAIL_WIDTH = 480
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
CONTENT_TYPE = "image/jpeg"


@dataclass(frozen=True)
class Picture:
    """A JPEG that is ready to be stored; sizes in pixels."""

    data: bytes
    sha256: str
    width: int
    height: int

    def key(self, year: int) -> str:
        """Where it lies in the media store."""
        return f"images/{year}/{self.sha256[:2]}/{self.sha256}.jpg"


def accept_upload(data: bytes) -> Picture:
    """Re-encode an upload as JPEG, without metadata; raise InvalidInput if it is no picture.

    Re-encoding drops EXIF, and with it the position where a photo was taken.
    """
    if len(data) > MAXIMUM_BYTES:
        raise InvalidInput(f"The picture is larger than {MAXIMUM_BYTES // 1024 // 1024} MB.")
    image = decode(data)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    encoded = encode(image, quality=85)
    return Picture(encoded, hashlib.sha256(encoded).hexdigest(), image.width, image.height)


def decode(data: bytes) -> Image.Image:
    """Return the upright RGB image in `data`; raise InvalidInput if there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(BytesIO(data), formats=FORMATS)
            if opened.width * opened.height > MAXIMUM_PIXELS:
                raise InvalidInput("The picture has too many pixels.")
            opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            return ImageOps.exif_transpose(opened).convert("RGB")
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombWarning,
    ) as error:
        raise InvalidInput("This is no JPEG, PNG, WebP or GIF picture.") from error
    except Image.DecompressionBombError as error:
        raise InvalidInput("The picture has too many pixels.") from error


def encode(image: Image.Image, quality: int) -> bytes:
    """Return `image` as JPEG."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def thumbnail_of(data: bytes) -> bytes:
    """Return a JPEG no wider than THUMBNAIL_WIDTH; raise InvalidInput if `data` is no picture."""
    return shrink(decode(data))


def shrink(image: Image.Image) -> bytes:
    """Return a JPEG of `image` no wider than THUMBNAIL_WIDTH."""
    small = image.copy()
    small.thumbnail((THUMBNAIL_WIDTH, THUMBNAIL_WIDTH * 2))
    return encode(small, quality=80)


def thumbnail_key(image_key: str) -> str:
    """Where the thumbnail of `images/…` lies: the same path below `thumbs/`."""
    return "thumbs/" + image_key.removeprefix("images/")
