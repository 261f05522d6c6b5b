"""The page's own arithmetic, in the browser, against pycocotools and plain NumPy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from ovseg.server.service import Service
from tests.page.tab import Tab


@pytest.fixture
def scripts(tab: Tab, mini_service: Service) -> Iterator[Tab]:
    """A tab where `load(name)` imports one of the page's modules."""
    tab.open(f"{mini_service.base_url}/")
    tab.js(
        "window.load = (name) => import(new URL(name, "
        "document.querySelector('script[type=module]').src)), 0"
    )
    yield tab


def encoded(pixels: np.ndarray) -> dict[str, Any]:
    rle = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def for_each_mask(script: str) -> str:
    """A list with what `script` makes of each `mask` of `random_masks`."""
    masks = json.dumps([encoded(mask) for mask in random_masks()])
    return (
        "Promise.all([load('./rle.js'), load('./outline.js')]).then(([{ Mask }, { contours }]) => "
        f"{masks}.map((rle) => {{ const mask = new Mask(rle); return {script}; }}))"
    )


def random_masks() -> list[np.ndarray]:
    random = np.random.default_rng(7)
    masks = [np.zeros((5, 7), bool), np.ones((5, 7), bool), np.eye(6, dtype=bool)]
    for share in (0.02, 0.5, 0.98):
        masks.append(random.random((37, 53)) < share)
        masks.append(np.kron(random.random((6, 9)) < share, np.ones((11, 5))) > 0)
    masks.append(np.pad(np.ones((1, 1), bool), ((700, 3), (1, 900))))
    return masks


def test_masks_are_decoded_as_pycocotools_does(scripts: Tab) -> None:
    found = scripts.js(
        for_each_mask("({area: mask.area, box: mask.box, pixels: [...mask.pixels()].join('')})")
    )
    for mask, ours in zip(random_masks(), found, strict=True):
        rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert ours["area"] == coco.area(rle) == mask.sum()
        assert ours["box"] == coco.toBbox(rle).tolist()
        pixels = np.array(list(ours["pixels"]), int).reshape(mask.shape)
        assert (pixels == mask).all()


@pytest.mark.parametrize("side", [4, 16, 41, 500])
def test_smaller_copies_are_samples_of_the_whole(scripts: Tab, side: int) -> None:
    found = scripts.js(
        for_each_mask(
            "(({ width, height, columns }) => ({ width, height, columns: [...columns] }))"
            f"(mask.sampled({side}))"
        )
    )
    for mask, ours in zip(random_masks(), found, strict=True):
        columns = np.array(ours["columns"]).reshape(ours["width"], ours["height"])
        rows, cols = (
            np.floor((np.arange(n) + 0.5) * size / n).astype(int)
            for n, size in zip((ours["height"], ours["width"]), mask.shape, strict=True)
        )
        assert max(columns.shape) == min(side, max(mask.shape))
        assert np.array_equal(columns.T, mask[np.ix_(rows, cols)])


def test_contours_enclose_just_the_mask(scripts: Tab) -> None:
    found = scripts.js(
        for_each_mask(
            "(({ width, height, columns }) => contours(width, height, columns))(mask.sampled(9999))"
        )
    )
    for mask, lines in zip(random_masks(), found, strict=True):
        # Of a line around a hole the enclosed area is negative.
        area = 0.0
        for corners in lines:
            x, y = np.array(corners, float).T
            area += (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
        assert area == mask.sum()


def test_a_mask_of_20_megapixels_has_its_outline(scripts: Tab) -> None:
    y, x = np.ogrid[:3888, :5184]
    disc = (x - 2600) ** 2 + (y - 1900) ** 2 < 900**2
    scripts.js(f"window.rle = {json.dumps(encoded(disc))}, 0")
    area, is_in, is_out = scripts.js(
        """Promise.all(['./rle.js', './outline.js'].map(load)).then(([{ Mask }, { outlineOf }]) => {
          const mask = new Mask(rle);
          const { area } = outlineOf(mask);
          const context = document.createElement('canvas').getContext('2d');
          const isIn = (x, y) => context.isPointInPath(area, x, y, 'evenodd');
          return [
            mask.area,
            isIn(2600, 1010) && isIn(3480, 1900),
            isIn(2600, 985) || isIn(3515, 1900),
          ];
        })"""
    )
    assert (area, is_in, is_out) == (int(disc.sum()), True, False)


def test_server_timing_is_read_as_it_is_written(scripts: Tab) -> None:
    header = "json;dur=0.61, base64;dur=0.11, decoder;dur=24.90, cache;desc=hit, total;dur=31.07"
    timing = scripts.js(f"load('./api.js').then(({{ parseTiming }}) => parseTiming({header!r}))")
    assert timing == {"json": 0.61, "base64": 0.11, "decoder": 24.9, "cache": "hit", "total": 31.07}


def test_both_languages_say_everything(scripts: Tab) -> None:
    english, chinese, used = scripts.js(
        """Promise.all([load('./en.js'), load('./zh.js')]).then(([{ en }, { zh }]) => [en, zh,
          [...document.querySelectorAll('[data-t], [data-t-label]')].map(
            (e) => e.dataset.t ?? e.dataset.tLabel)])"""
    )
    assert english.keys() == chinese.keys()
    assert set(used) <= english.keys()
    for key, text in english.items():
        holes = [part.split("}")[0] for part in text.split("{")[1:]]
        assert sorted(holes) == sorted(p.split("}")[0] for p in chinese[key].split("{")[1:]), key
