"""Where points lie, and which parts of an image are looked at."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg.stages.errors import InvalidInputError
from ovseg.stages.everything.crops import Crop, crops_of, point_grid
from ovseg.stages.everything.measuring import box_of, stability_score
from ovseg.stages.everything.parameters import EverythingParameters
from ovseg.stages.masks import two_step_of, upsample_region


def test_points_are_in_the_middle_of_equal_fields_row_by_row() -> None:
    assert point_grid(1).tolist() == [[0.5, 0.5]]
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


def test_crops_of_a_layer_overlap_and_cover_the_image() -> None:
    crops = crops_of((600, 1000), 2, 512 / 1500)
    assert [crop.layer for crop in crops] == [0] + [1] * 4 + [2] * 16
    assert crops[0].box == (0, 0, 1000, 600)
    # By hand, after generate_crop_boxes: overlap int(512 / 1500 * 600) = 204, so crops are
    # (204 + 1000) / 2 = 602 wide and 402 high and start 398 and 198 later.
    assert [crop.box for crop in crops[1:5]] == [
        (0, 0, 602, 402),
        (0, 198, 602, 600),
        (398, 0, 1000, 402),
        (398, 198, 1000, 600),
    ]
    for layer in (1, 2):
        covered = np.zeros((600, 1000), np.bool_)
        for crop in crops:
            if crop.layer == layer:
                covered[crop.top : crop.bottom, crop.left : crop.right] = True
        assert covered.all()


def test_a_tiny_image_has_no_empty_crops() -> None:
    assert all(min(crop.size) > 0 for crop in crops_of((1, 3), 3, 0.9))


def test_what_a_crop_cuts_off_is_told_from_what_ends_with_the_image() -> None:
    crop, size = Crop(0, 100, 300, 400, layer=1), (500, 600)
    inside, at_the_image = np.array([50, 150, 200, 300]), np.array([0, 150, 200, 300])
    cut_above, cut_right = np.array([50, 119, 200, 300]), np.array([50, 150, 281, 300])
    assert not crop.cuts(inside, size) and not crop.cuts(at_the_image, size)
    assert crop.cuts(cut_above, size) and crop.cuts(cut_right, size)
    assert not Crop(0, 0, 600, 500).cuts(np.array([0, 0, 599, 499]), size)


def test_stability_counts_what_upsampling_everything_gives() -> None:
    random = np.random.default_rng(3)
    low_res = random.normal(size=(256, 256)).astype(np.float32)
    low_res[60:200, 40:180] += 6
    low_res[:40] -= 9
    two_step = two_step_of((256, 256), 512, (300, 400))
    # One matrix product from each side, over everything.
    rows = np.zeros((300, 256))
    columns = np.zeros((400, 256))
    for axis, weights in ((two_step.rows, rows), (two_step.columns, columns)):
        parts = axis.windows
        for k in range(len(parts.start)):
            cells = slice(parts.first_cell[k], parts.first_cell[k] + parts.cell_count)
            weights[parts.start[k] : parts.start[k] + parts.size, cells] = parts.weights[k]
    logits = rows @ low_res @ columns.T
    for offset in (0.5, 1.0, 3.0):
        expected = (logits > offset).sum() / (logits > -offset).sum()
        assert stability_score(low_res, two_step, offset) == pytest.approx(expected, abs=1e-4)
    assert stability_score(np.full_like(low_res, 5), two_step, 1.0) == 1
    assert np.isnan(stability_score(np.full_like(low_res, -5), two_step, 1.0))


def test_a_box_is_from_the_first_to_the_last_pixel() -> None:
    low_res = np.full((256, 256), -4, np.float32)
    low_res[64:128, 32:64] = 4
    region = upsample_region(low_res, two_step_of((256, 256), 512, (512, 512)))
    assert box_of(region).tolist() == [64, 128, 127, 255]
    nothing = upsample_region(np.full_like(low_res, -4), two_step_of((256, 256), 512, (64, 64)))
    assert box_of(nothing).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"points_per_side": 0}, "points_per_side"),
        ({"points_per_side": 91}, "points_per_side"),
        ({"points_per_side": 32, "crop_n_layers": 2}, "points_per_side"),
        ({"points_per_batch": 17}, "points_per_batch"),
        ({"pred_iou_thresh": float("nan")}, "pred_iou_thresh"),
        ({"crop_n_layers": 4}, "crop_n_layers"),
        (
            {"crop_n_layers": 1, "crop_n_points_downscale_factor": 40},
            "crop_n_points_downscale_factor",
        ),
    ],
)
def test_too_much_and_nonsense_are_refused_by_name(changed: dict[str, float], field: str) -> None:
    EverythingParameters().check(8192, 16)
    with pytest.raises(InvalidInputError) as refused:
        EverythingParameters(**changed).check(8192, 16)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_layers_have_fewer_points_by_the_factor() -> None:
    parameters = EverythingParameters(crop_n_layers=2, crop_n_points_downscale_factor=3)
    assert [parameters.points_per_side_of(layer) for layer in range(3)] == [32, 10, 3]
    assert parameters.total_points == 32**2 + 4 * 10**2 + 16 * 3**2
