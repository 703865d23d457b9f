"""What the network reads of a photo. Training and serving both call `prepare`; there is no second version.

Three inputs, all made from a `decode.Photo`:

* ``photo``: the whole frame, squeezed to 240 x 240 (aspect is lost here and handed over in `measures`);
* ``tiles``: four 112 x 112 luma tiles at *native* scale, taken where the detail is, because a
  24-megapixel photo squeezed to 240 px hides a missed focus;
* ``measures``: the numbers of `measure.MEASURES`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cgiaa_cli.imaging.decode import VIEW_LONG_SIDE, Photo
from cgiaa_cli.imaging.measure import MEASURES, measure

__all__ = ["PREPROCESS", "Inputs", "batch", "detail_tiles", "prepare", "preprocess_hash", "squeeze"]

PREPROCESS: dict[str, object] = {
    "version": 2,
    "view_long_side": VIEW_LONG_SIDE,
    "photo_size": 240,
    "photo_resize": "squeeze, bilinear with antialias, sRGB, uint8",
    "tiles": 4,
    "tile_size": 112,
    "tile_scale": "native luma, cells of most detail",
    "measures": list(MEASURES),
}
SIZE = 240
TILES = 4
TILE = 112


@dataclass(frozen=True)
class Inputs:
    """One photo as the encoder reads it.

    Attributes:
        photo: (240, 240, 3) uint8 sRGB.
        tiles: (4, 112, 112) uint8 luma at native scale.
        measures: (len(MEASURES),) float32.
    """

    photo: NDArray[np.uint8]
    tiles: NDArray[np.uint8]
    measures: NDArray[np.float32]


def preprocess_hash() -> str:
    """Twelve hex digits that change whenever `PREPROCESS` does; part of the key of every cached score."""
    text = json.dumps(PREPROCESS, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def prepare(photo: Photo) -> Inputs:
    """Turn a decoded photo into the encoder's inputs (see the module's text for shapes)."""
    tiles = detail_tiles(photo.view, photo.luma)
    return Inputs(
        photo=squeeze(photo.view),
        tiles=tiles,
        measures=measure(photo.view, tiles, photo.width, photo.height),
    )


def squeeze(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The whole (h, w, 3) view as (240, 240, 3)."""
    return np.asarray(Image.fromarray(view).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def detail_tiles(view: NDArray[np.uint8], luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Four native-scale tiles from the cells with the most edge energy in the small view.

    The energy is looked up in the view, not in the native pixels: gradients of 24 million pixels would cost
    more than the network. Cells do not overlap where the photo is large enough for that.

    Args:
        view: (h, w, 3) uint8, the reduced photo.
        luma: (H, W) uint8, the native photo.

    Returns:
        (4, 112, 112) uint8. A photo smaller than a tile is mirrored outward.
    """
    small = view[..., 1].astype(np.int16)
    energy: NDArray[np.float32] = np.zeros(small.shape, np.float32)
    energy[:, 1:] += np.abs(np.diff(small, axis=1))
    energy[1:] += np.abs(np.diff(small, axis=0))
    height, width = luma.shape
    rows, columns = max(1, height // TILE), max(1, width // TILE)
    cells = (min(rows, len(energy)), min(columns, energy.shape[1]))
    grid = _cell_means(energy, *cells)
    order = np.argsort(grid, axis=None, kind="stable")[::-1]
    chosen = [divmod(int(order[i % len(order)]), cells[1]) for i in range(TILES)]
    return np.stack([_cut(luma, cell, cells) for cell in chosen])


def _cell_means(values: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    edges_y = np.linspace(0, values.shape[0], rows + 1).astype(int)[:-1]
    edges_x = np.linspace(0, values.shape[1], columns + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(values, edges_y, axis=0), edges_x, axis=1)
    return np.asarray(sums, np.float32)


def _cut(luma: NDArray[np.uint8], cell: tuple[int, int], grid: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = luma.shape
    top = min(cell[0] * height // grid[0], max(0, height - TILE))
    left = min(cell[1] * width // grid[1], max(0, width - TILE))
    tile = luma[top : top + TILE, left : left + TILE]
    missing = (TILE - tile.shape[0], TILE - tile.shape[1])
    if any(missing):
        tile = np.pad(tile, ((0, missing[0]), (0, missing[1])), mode="symmetric")
    return np.ascontiguousarray(tile)


def batch(inputs: list[Inputs]) -> dict[str, NDArray[np.uint8] | NDArray[np.float32]]:
    """Stack photos into the encoder's named inputs: ``photo``, ``tiles``, ``measures``, batch first."""
    return {
        "photo": np.stack([i.photo for i in inputs]),
        "tiles": np.stack([i.tiles for i in inputs]),
        "measures": np.stack([i.measures for i in inputs]),
    }
