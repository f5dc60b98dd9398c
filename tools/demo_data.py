"""Makes the data of `make demo`: what the Moon looks like, day by day, as a table and as pictures.

The illuminated fraction follows the series for the Moon's phase angle in J. Meeus, Astronomical Algorithms, chapter 48;
the pictures are drawn from it, as PNG files, with the standard library alone. Nothing is copied from anywhere: the data
is under the licence of this project. Two versions, together under 5 MB.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator
from datetime import date, timedelta

SIZE = 128
"""Width and height of a picture in pixels."""
_EPOCH = date(2000, 1, 1)


def write_version(folder: str, version: int) -> None:
    """Writes `moon.csv` and `images/` of version 1 (January 2024) or 2 (February too, and thin crescents redrawn).

    Version 2 also leaves out the darkest day of January, on which there is nothing to see.
    """
    days = 31 if version == 1 else 60
    images = os.path.join(folder, "images")
    os.makedirs(images, exist_ok=True)
    darkest = min(_days(31), key=lambda day: phase(day)[1])
    rows = ["date,phase_angle_deg,illuminated,picture"]
    for day in _days(days):
        angle, lit, is_waxing = phase(day)
        name = f"{day.isoformat()}.png"
        path = os.path.join(images, name)
        if version == 2 and day == darkest:
            os.unlink(path)
            name = ""
        elif version == 1 or day.month > 1 or lit < 0.05:
            earthshine = 0.12 if version == 2 and lit < 0.05 else 0.0
            with open(path, "wb") as stream:
                stream.write(_png(_draw(angle, is_waxing, earthshine)))
        rows.append(f"{day.isoformat()},{angle:.1f},{lit:.3f},{name}")
    with open(os.path.join(folder, "moon.csv"), "w", encoding="ascii") as table:
        table.write("\n".join(rows) + "\n")


def _days(count: int) -> Iterator[date]:
    return (date(2024, 1, 1) + timedelta(days=number) for number in range(count))


def phase(day: date) -> tuple[float, float, bool]:
    """Returns the Moon's phase angle in degrees, its illuminated fraction, and whether it grows, at noon UTC."""
    centuries = (day - _EPOCH).days / 36525
    elongation = math.radians((297.8501921 + 445267.1114034 * centuries) % 360)
    sun = math.radians((357.5291092 + 35999.0502909 * centuries) % 360)
    moon = math.radians((134.9633964 + 477198.8675055 * centuries) % 360)
    angle = (
        180
        - math.degrees(elongation)
        - 6.289 * math.sin(moon)
        + 2.100 * math.sin(sun)
        - 1.274 * math.sin(2 * elongation - moon)
        - 0.658 * math.sin(2 * elongation)
        - 0.214 * math.sin(2 * moon)
        - 0.110 * math.sin(elongation)
    )
    return abs(angle), (1 + math.cos(math.radians(angle))) / 2, angle > 0


def _draw(angle_deg: float, is_waxing: bool, earthshine: float) -> bytes:
    """Returns the pixels of a sphere that the Sun lights from the side, one byte each, row by row."""
    angle = math.radians(angle_deg)
    side, front = math.sin(angle) * (1 if is_waxing else -1), math.cos(angle)
    pixels = bytearray(SIZE * SIZE)
    for at, x, z, ground in _sphere():
        light = x * side + z * front
        pixels[at] = int(255 * ground * max(light**0.6 if light > 0 else 0.0, earthshine))
    return bytes(pixels)


_points: list[tuple[int, float, float, float]] = []


def _sphere() -> list[tuple[int, float, float, float]]:
    """Returns (position, x, z, brightness of the ground) of each pixel on the disc."""
    if not _points:
        for at in range(SIZE * SIZE):
            x = (at % SIZE + 0.5) / (SIZE / 2) - 1
            y = (at // SIZE + 0.5) / (SIZE / 2) - 1
            square = (x * x + y * y) / 0.9**2
            if square < 1:
                z = math.sqrt(1 - square)
                seas = math.sin(3.1 * x + 1.7 * math.sin(2.3 * y)) * math.sin(2.9 * y - 1.3 * x * z)
                grain = math.sin(31 * x + 9 * math.sin(17 * y)) * math.sin(27 * y + 7 * math.sin(23 * x))
                _points.append((at, x / 0.9, z, 0.78 + 0.14 * seas + 0.06 * grain))
    return _points


def _png(pixels: bytes) -> bytes:
    """Returns a PNG file of SIZE x SIZE grey pixels."""
    rows = b"".join([b"\0" + pixels[at : at + SIZE] for at in range(0, len(pixels), SIZE)])
    head = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
