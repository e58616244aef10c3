"""Augmentation: a pure function of seed, epoch and example, the same for numpy and torch, and what each change does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isosweep.data.augmentation import augmented, image_shape
from isosweep.sweep.settings import AugmentationSettings

SHAPE = (3, 12, 10)
SAMPLES = 40
IMAGES = np.random.default_rng(0).standard_normal((SAMPLES, 3 * 12 * 10))
ALL = AugmentationSettings(flip=True, shift=3, crop=4)


def seen(settings: AugmentationSettings, inputs: Any = IMAGES, examples: Any = None, **where: Any) -> Any:
    asked = {"shape": SHAPE, "seed": 0, "epoch": 0, "samples": SAMPLES, **where}
    return augmented(inputs, range(len(inputs)) if examples is None else examples, settings=settings, **asked)


def as_images(inputs: np.ndarray) -> np.ndarray:
    return inputs.reshape(len(inputs), *SHAPE)


CHOICES = st.builds(AugmentationSettings, st.booleans(), st.integers(0, 9), st.integers(0, 9))


@settings(max_examples=60, deadline=None)
@given(
    chosen=CHOICES,
    examples=st.lists(st.integers(0, SAMPLES - 1), min_size=1, max_size=12),
    seed=st.integers(0, 10**9),
    epoch=st.integers(0, 1000),
)
def test_an_example_looks_the_same_in_every_minibatch(
    chosen: AugmentationSettings, examples: list[int], seed: int, epoch: int
) -> None:
    before = IMAGES.copy()
    whole = seen(chosen, seed=seed, epoch=epoch)
    part = seen(chosen, IMAGES[examples], examples, seed=seed, epoch=epoch)
    np.testing.assert_array_equal(part, whole[examples])
    np.testing.assert_array_equal(IMAGES, before)
    # nor does it matter how many others there are
    np.testing.assert_array_equal(seen(chosen, seed=seed, epoch=epoch, samples=SAMPLES + 7), whole)


@settings(max_examples=40, deadline=None)
@given(chosen=CHOICES, dtype=st.sampled_from(["float32", "float64"]))
def test_torch_and_numpy_agree_to_the_last_bit(chosen: AugmentationSettings, dtype: str) -> None:
    inputs = IMAGES.astype(dtype)
    found = seen(chosen, torch.from_numpy(inputs))
    assert found.dtype == getattr(torch, dtype)
    expected = seen(chosen, inputs)
    assert expected.dtype == inputs.dtype
    np.testing.assert_array_equal(found.numpy(), expected)


def test_seeds_epochs_and_examples_differ() -> None:
    same = np.broadcast_to(IMAGES[:1], IMAGES.shape)
    one = seen(ALL, same)
    for other in (seen(ALL, same, seed=1), seen(ALL, same, epoch=1)):
        assert (one != other).any(axis=1).mean() > 0.9
    assert len({row.tobytes() for row in one}) > 0.9 * SAMPLES
    np.testing.assert_array_equal(one, seen(ALL, same))


def test_nothing_asked_for_nothing_done() -> None:
    np.testing.assert_array_equal(seen(AugmentationSettings()), IMAGES)


def test_flip_mirrors_about_half_of_them() -> None:
    images = as_images(IMAGES)
    found = as_images(seen(AugmentationSettings(flip=True)))
    flipped = (found == images[..., ::-1]).all(axis=(1, 2, 3))
    kept = (found == images).all(axis=(1, 2, 3))
    assert (flipped ^ kept).all()
    assert 8 <= flipped.sum() <= 32  # probability 1 − 10⁻⁴
    # and every one in some epoch
    sometimes = np.any(
        [
            (as_images(seen(AugmentationSettings(flip=True), epoch=e)) == images[..., ::-1]).all(axis=(1, 2, 3))
            for e in range(20)
        ],
        axis=0,
    )
    assert sometimes.all()


def moved(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """The image moved, 0 coming in: written out."""
    result = np.zeros_like(image)
    _, height, width = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i - down < height and 0 <= j - right < width:
                result[:, i, j] = image[:, i - down, j - right]
    return result


def test_shift_moves_by_every_offset_and_fills_with_0() -> None:
    counts = np.zeros((5, 5), dtype=int)
    for epoch in range(25):
        found = as_images(seen(AugmentationSettings(shift=2), epoch=epoch))
        for image, shown in zip(as_images(IMAGES), found, strict=True):
            offsets = [(d, r) for d in range(-2, 3) for r in range(-2, 3) if (moved(image, d, r) == shown).all()]
            assert len(offsets) == 1
            counts[offsets[0][0] + 2, offsets[0][1] + 2] += 1
    # 1,000 draws over 25 offsets: 40 each
    assert counts.min() > 15
    assert counts.max() < 75


def cropped(image: np.ndarray, crop: int, top: int, left: int) -> np.ndarray:
    """The window stretched to the whole, by torch's own bilinear interpolation."""
    _, height, width = image.shape
    window = image[:, top : top + height - crop, left : left + width - crop]
    stretched = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(window))[None], size=(height, width), mode="bilinear"
    )
    return stretched[0].numpy()


def test_crop_stretches_every_window() -> None:
    found_windows = set()
    for epoch in range(6):
        found = as_images(seen(AugmentationSettings(crop=3), epoch=epoch))
        for image, shown in zip(as_images(IMAGES), found, strict=True):
            windows = [
                (top, left)
                for top in range(4)
                for left in range(4)
                if np.allclose(cropped(image, 3, top, left), shown, atol=1e-12)
            ]
            assert len(windows) == 1
            found_windows.add(windows[0])
    assert len(found_windows) == 16


def test_all_together_are_flip_then_crop_then_shift() -> None:
    found = as_images(seen(ALL))
    for image, shown in zip(as_images(IMAGES)[:6], found[:6], strict=True):
        candidates = [
            moved(cropped(start, 4, top, left), down, right)
            for start in (image, image[..., ::-1])
            for top in range(5)
            for left in range(5)
            for down in range(-3, 4)
            for right in range(-3, 4)
        ]
        assert sum(np.allclose(c, shown, atol=1e-12) for c in candidates) == 1


def test_one_change_draws_what_it_draws_whatever_else_is_asked_for() -> None:
    images = as_images(IMAGES)
    flipped = (as_images(seen(AugmentationSettings(flip=True))) == images[..., ::-1]).all(axis=(1, 2, 3))
    with_shift = as_images(seen(AugmentationSettings(flip=True, shift=1)))
    alone = as_images(seen(AugmentationSettings(shift=1)))
    np.testing.assert_array_equal(with_shift[~flipped], alone[~flipped])


def test_the_first_draws_are_kept() -> None:
    """What a run drew when this was written, it draws for ever."""
    ramp = np.arange(120.0)[None, :].repeat(4, axis=0)
    found = augmented(ramp, range(4), settings=ALL, shape=(1, 12, 10), seed=5, epoch=2, samples=4)
    np.testing.assert_allclose(found[:, 54], KEPT, rtol=1e-12)


KEPT = [53.86666666666666, 75.93333333333332, 68.6, 65.66666666666667]


def test_inputs_of_another_shape_and_examples_outside_are_refused() -> None:
    with pytest.raises(ValueError, match="are not 40 images"):
        augmented(IMAGES, range(SAMPLES), settings=ALL, shape=(1, 12, 10), seed=0, epoch=0, samples=SAMPLES)
    with pytest.raises(ValueError, match="outside the split of 40"):
        seen(ALL, IMAGES[:1], [40])
    with pytest.raises(ValueError, match="no images"):
        image_shape("gaussian")
    assert image_shape("svhn") == (3, 32, 32)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_the_same_pixels_are_copied() -> None:
    found = seen(AugmentationSettings(flip=True, shift=3), torch.from_numpy(IMAGES).cuda())
    np.testing.assert_array_equal(found.cpu().numpy(), seen(AugmentationSettings(flip=True, shift=3)))
