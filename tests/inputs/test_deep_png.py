"""PNG files of 16 bits for each band are read with all their bits, as torchvision reads them."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from torchvision.io import ImageReadMode, decode_png

from lightning_tl.inputs.deep_png import is_deep_png, read_deep_png


def deep_png(values: np.ndarray, kind: int = 0) -> bytes:
    """A PNG of 16 bits whose rows are stored by one of the five filters."""
    height, width, bands = values.shape
    raw = values.astype(">u2").tobytes()
    step, length = bands * 2, width * bands * 2
    rows, before = [], bytes(length)
    for row in (raw[place : place + length] for place in range(0, len(raw), length)):
        left, corner = bytes(step) + row[:-step], bytes(step) + before[:-step]
        guess = {
            0: bytes(length),
            1: left,
            2: before,
            3: bytes((a + b) // 2 for a, b in zip(left, before, strict=True)),
            4: bytes(_paeth(a, b, c) for a, b, c in zip(left, before, corner, strict=True)),
        }[kind]
        rows.append(bytes([kind]) + bytes((x - g) % 256 for x, g in zip(row, guess, strict=True)))
        before = row

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[bands], 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"".join(rows))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _paeth(a: int, b: int, c: int) -> int:
    guess = a + b - c
    return min((abs(guess - a), 0, a), (abs(guess - b), 1, b), (abs(guess - c), 2, c))[2]


@pytest.mark.filterwarnings("ignore:The image decoding and encoding capabilities:DeprecationWarning")
@pytest.mark.parametrize("bands", [3, 4])
@pytest.mark.parametrize("kind", range(5))
def test_all_sixteen_bits(bands: int, kind: int) -> None:
    values = np.random.default_rng(kind).integers(0, 65536, (9, 7, bands), dtype=np.uint16)
    data = deep_png(values, kind)
    assert is_deep_png(data[:26])
    by_torchvision = decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.UNCHANGED)
    np.testing.assert_array_equal(by_torchvision.permute(1, 2, 0).numpy(), values)
    np.testing.assert_array_equal(read_deep_png(data), values)


def test_a_damaged_one_is_an_error() -> None:
    data = deep_png(np.zeros((40, 40, 3), np.uint16) + np.arange(40, dtype=np.uint16)[:, None, None] * 997)
    with pytest.raises((OSError, SyntaxError)):
        read_deep_png(data[: len(data) // 2])


def test_others_are_left_to_pillow() -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    assert not is_deep_png(file.getvalue()[:26])
    assert not is_deep_png(b"")
