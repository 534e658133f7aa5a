"""Pictures for the made-up community, drawn by Pillow: the same seed gives the same bytes."""

import math
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from plaza.pictures import encode

Colour = tuple[int, int, int]
Palette = tuple[Colour, Colour, Colour, Colour]

SIZES = ((720, 540), (720, 480), (600, 600), (520, 650), (768, 432))
AVATAR_SIDE = 160


def _palette(codes: str) -> Palette:
    first, second, third, fourth = (
        (int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)) for code in codes.split()
    )
    return first, second, third, fourth


# Dark to light: shadow, body, glow, light.
PALETTES = tuple(
    map(
        _palette,
        (
            "2b2d42 8d5b4c f2a65a ffe8c2",
            "1d3557 457b9d a8dadc f1faee",
            "283618 606c38 dda15e fefae0",
            "3d2645 832161 da627d fcd5ce",
            "0b3954 087e8b bfd7ea ff8a5b",
            "22223b 4a4e69 c9ada7 f2e9e4",
            "132a13 4f772d 90a955 ecf39e",
            "3c1518 a44200 d58936 f2f3ae",
            "14213d 3a506b fca311 f5ebe0",
            "2d3142 4f5d75 ef8354 f7ede2",
            "1b4332 40916c 95d5b2 fff3b0",
            "231942 5e548e be95c4 f6e7f5",
        ),
    )
)


def draw_picture(seed: str) -> Image.Image:
    """Return one of several kinds of picture."""
    dice = random.Random(seed)  # noqa: S311 -- nothing here is secret
    size, palette = dice.choice(SIZES), dice.choice(PALETTES)
    image = dice.choice(KINDS)(dice, size, palette)
    # Shapes are drawn without antialiasing; this hides it, and keeps the JPEG small.
    return image.filter(ImageFilter.BoxBlur(0.6))


def draw_avatar(seed: str) -> Image.Image:
    """Return a square of quarter circles in one palette."""
    dice = random.Random(seed)  # noqa: S311 -- nothing here is secret
    palette = dice.choice(PALETTES)
    image = Image.new("RGB", (AVATAR_SIDE * 2, AVATAR_SIDE * 2), palette[3])
    draw = ImageDraw.Draw(image)
    cell = AVATAR_SIDE
    for row in range(2):
        for column in range(2):
            x, y = column * cell, row * cell
            draw.rectangle((x, y, x + cell, y + cell), fill=dice.choice(palette))
            corner_x, corner_y = dice.choice((x, x + cell)), dice.choice((y, y + cell))
            for share, colour in ((1.0, dice.choice(palette)), (0.5, dice.choice(palette))):
                reach = int(cell * share)
                box = (corner_x - reach, corner_y - reach, corner_x + reach, corner_y + reach)
                _draw_inside(image, box, colour, (x, y, x + cell, y + cell))
    return image.resize((AVATAR_SIDE, AVATAR_SIDE), Image.Resampling.BOX)


def _draw_inside(
    image: Image.Image, circle: tuple[int, int, int, int], colour: Colour, window: tuple[int, int, int, int]
) -> None:
    tile = image.crop(window)
    left, top = window[0], window[1]
    moved = (circle[0] - left, circle[1] - top, circle[2] - left, circle[3] - top)
    ImageDraw.Draw(tile).ellipse(moved, fill=colour)
    image.paste(tile, (left, top))


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour, mid: Colour | None = None) -> Image.Image:
    ramp = Image.linear_gradient("L").resize(size, Image.Resampling.BILINEAR)
    return ImageOps.colorize(ramp, top, bottom, mid=mid)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _hills(dice: random.Random, size: tuple[int, int], palette: Palette) -> Image.Image:
    width, height = size
    shadow, body, glow, light = palette
    image = _gradient(size, _mix(body, glow, 0.4), light, mid=glow)
    draw = ImageDraw.Draw(image)
    radius = dice.randint(height // 14, height // 7)
    sun_x, sun_y = dice.randint(width // 6, width * 5 // 6), dice.randint(height // 4, height // 2)
    draw.ellipse((sun_x - radius, sun_y - radius, sun_x + radius, sun_y + radius), fill=_mix(light, glow, 0.15))
    layers = dice.randint(3, 5)
    for layer in range(layers):
        base = height * (0.5 + 0.42 * layer / layers)
        waves = [(dice.uniform(0.6, 3.2), dice.uniform(0, 6.3), dice.uniform(8, 46)) for _ in range(3)]
        ridge = [
            (x, base + sum(lift * math.sin(turns * 6.28 * x / width + phase) for turns, phase, lift in waves))
            for x in range(0, width + 9, 8)
        ]
        colour = _mix(_mix(glow, body, 0.5), shadow, (layer + 1) / layers)
        draw.polygon([*ridge, (width, height), (0, height)], fill=colour)
    return image


def _bubbles(dice: random.Random, size: tuple[int, int], palette: Palette) -> Image.Image:
    width, height = size
    image = _gradient(size, palette[0], palette[1])
    overlay = Image.new("RGB", size, palette[2])
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    for _ in range(dice.randint(14, 34)):
        radius = dice.randint(12, height // 5)
        x, y = dice.randint(0, width), dice.randint(0, height)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=dice.randint(50, 210))
    image.paste(overlay, mask=mask)
    draw = ImageDraw.Draw(image)
    for _ in range(dice.randint(3, 8)):
        radius = dice.randint(6, height // 12)
        x, y = dice.randint(0, width), dice.randint(0, height)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=palette[3])
    return image


def _tiles(dice: random.Random, size: tuple[int, int], palette: Palette) -> Image.Image:
    width, height = size
    image = Image.new("RGB", size, palette[3])
    draw = ImageDraw.Draw(image)
    side = dice.choice((60, 75, 100, 120))
    for x in range(0, width, side):
        for y in range(0, height, side):
            colour, other = dice.choice(palette), dice.choice(palette)
            draw.rectangle((x, y, x + side, y + side), fill=colour)
            kind = dice.randrange(4)
            if kind == 0:
                draw.pieslice((x, y, x + side * 2, y + side * 2), 180, 270, fill=other)
            elif kind == 1:
                draw.pieslice((x - side, y - side, x + side, y + side), 0, 90, fill=other)
            elif kind == 2:
                draw.polygon([(x, y), (x + side, y), (x, y + side)], fill=other)
            else:
                inset = side // 4
                draw.ellipse((x + inset, y + inset, x + side - inset, y + side - inset), fill=other)
    return image


def _arches(dice: random.Random, size: tuple[int, int], palette: Palette) -> Image.Image:
    width, height = size
    shadow, body, glow, light = palette
    image = _gradient(size, glow, light)
    draw = ImageDraw.Draw(image)
    count = dice.randint(3, 6)
    span = width / count
    floor = height * dice.uniform(0.78, 0.9)
    crown = height * dice.uniform(0.25, 0.45)
    draw.rectangle((0, crown * 0.5, width, floor), fill=body)
    for number in range(count):
        left, right = number * span + span * 0.16, (number + 1) * span - span * 0.16
        top = crown
        fill = _mix(shadow, glow, dice.uniform(0, 0.35))
        draw.ellipse((left, top, right, top + (right - left)), fill=fill)
        draw.rectangle((left, top + (right - left) / 2, right, floor), fill=fill)
    draw.rectangle((0, floor, width, height), fill=_mix(shadow, body, 0.4))
    return image


def _waves(dice: random.Random, size: tuple[int, int], palette: Palette) -> Image.Image:
    width, height = size
    image = _gradient(size, palette[3], palette[2])
    draw = ImageDraw.Draw(image)
    bands = dice.randint(7, 13)
    turns, swing = dice.uniform(0.8, 2.6), dice.uniform(10, 38)
    for band in range(bands):
        base = height * (0.3 + 0.75 * band / bands)
        phase = dice.uniform(0, 6.3)
        crest = [(x, base + swing * math.sin(turns * 6.28 * x / width + phase)) for x in range(0, width + 9, 8)]
        colour = _mix(palette[2], _mix(palette[1], palette[0], band / bands), 0.25 + 0.75 * band / bands)
        draw.polygon([*crest, (width, height), (0, height)], fill=colour)
    return image


KINDS: tuple[Callable[[random.Random, tuple[int, int], Palette], Image.Image], ...] = (
    _hills,
    _hills,
    _bubbles,
    _tiles,
    _arches,
    _waves,
)


def as_jpeg(image: Image.Image, quality: int = 82) -> bytes:
    """Return the bytes to store."""
    return encode(image, quality)
