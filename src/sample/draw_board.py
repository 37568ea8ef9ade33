#!/usr/bin/env python3
"""Draws source/docs/images/board.png: a theatre's call board, with notices pinned to it.

Plain rectangles on a small grid, enlarged, written as a palette PNG with nothing but the standard library. The same
program always writes the same bytes.
"""

import pathlib
import struct
import zlib

WIDTH, HEIGHT, SCALE = 80, 45, 8

PALETTE = {
    "wall": (38, 50, 56),
    "frame": (93, 64, 55),
    "cork": (188, 143, 98),
    "paper": (250, 248, 240),
    "shade": (150, 112, 74),
    "ink": (96, 108, 118),
    "red": (211, 47, 47),
    "green": (56, 142, 60),
    "blue": (25, 118, 210),
}
INDEX = {name: number for number, name in enumerate(PALETTE)}

# Each notice: left, top, width, height, colour of its pin, number of written lines.
NOTICES = [
    (9, 8, 18, 14, "red", 4),
    (31, 9, 20, 11, "blue", 3),
    (55, 7, 16, 17, "green", 5),
    (10, 26, 22, 12, "green", 3),
    (36, 24, 15, 14, "red", 4),
    (54, 28, 17, 10, "blue", 2),
]


def fill(canvas: list[bytearray], colour: str, left: int, top: int, width: int, height: int) -> None:
    for row in canvas[top : top + height]:
        row[left : left + width] = bytes([INDEX[colour]]) * width


def draw() -> list[bytearray]:
    canvas = [bytearray(WIDTH) for _ in range(HEIGHT)]
    fill(canvas, "frame", 4, 3, WIDTH - 8, HEIGHT - 6)
    fill(canvas, "cork", 6, 5, WIDTH - 12, HEIGHT - 10)
    for left, top, width, height, pin, lines in NOTICES:
        fill(canvas, "shade", left + 1, top + 1, width, height)
        fill(canvas, "paper", left, top, width, height)
        fill(canvas, pin, left + width // 2 - 1, top, 2, 2)
        for line in range(lines):
            # The last line of a paragraph is shorter.
            length = width - 4 if line < lines - 1 else width // 2
            fill(canvas, "ink", left + 2, top + 4 + 2 * line, length, 1)
    return canvas


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(canvas: list[bytearray]) -> bytes:
    rows = b"".join(
        (b"\x00" + bytes(colour for colour in row for _ in range(SCALE))) * SCALE for row in canvas
    )
    header = struct.pack(">IIBBBBB", WIDTH * SCALE, HEIGHT * SCALE, 8, 3, 0, 0, 0)
    palette = b"".join(bytes(rgb) for rgb in PALETTE.values())
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"PLTE", palette)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


if __name__ == "__main__":
    target = pathlib.Path(__file__).parent / "source" / "docs" / "images" / "board.png"
    target.write_bytes(png(draw()))
