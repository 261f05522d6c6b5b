"""A pool of drawn scenes, so that training never waits for the drawing."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
from composites import Array, Library, Rng, make_scene

PADDING = (124, 116, 104)  # SAM's mean colour


class ScenePool:
    """A ring of scenes in memory-mapped files, which `fill_forever` keeps replacing.

    Drawing a scene takes longer than a training step may wait, so every scene serves several times,
    each time cropped, flipped, turned and tinted anew.
    """

    def __init__(self, folder: Path, size: int, capacity: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.size, self.capacity = size, capacity
        stem = f"{size}_{capacity}.bin"
        shape = (capacity, size, size)
        self.images = _memmap(folder / f"images_{stem}", (*shape, 3))
        self.labels = _memmap(folder / f"labels_{stem}", (*shape, 2))
        self.count = _memmap(folder / f"count_{stem}", (8,)).view(np.int64)

    def fill_forever(self, library: Library, seed: int, pause: float) -> None:
        """Add scenes for as long as the process lives, resting `pause` seconds once full."""
        cv2.setNumThreads(1)
        rng = np.random.default_rng([seed, int(self.count[0])])
        while True:
            slot = int(self.count[0]) % self.capacity
            self.images[slot], self.labels[slot] = make_scene(rng, library, self.size)
            self.count[0] += 1
            time.sleep(pause if self.count[0] >= self.capacity else 0)

    def sample(self, rng: Rng, batch: int, size: int) -> tuple[Array, Array]:
        """Images [batch, size, size, 3] and labels [batch, size, size, 2], augmented."""
        filled = min(int(self.count[0]), self.capacity)
        images = np.empty((batch, size, size, 3), np.uint8)
        labels = np.empty((batch, size, size, 2), np.uint8)
        for i in range(batch):
            k = rng.integers(filled)
            side = int(self.size * rng.uniform(0.45, 1)) if rng.random() < 0.6 else self.size
            y, x = rng.integers(self.size - side + 1, size=2)
            image = self.images[k, y : y + side, x : x + side]
            label = self.labels[k, y : y + side, x : x + side]
            smooth = cv2.INTER_AREA if side >= size else cv2.INTER_LINEAR
            image = cv2.resize(image, (size, size), interpolation=smooth)
            label = cv2.resize(label, (size, size), interpolation=cv2.INTER_NEAREST)
            if rng.random() < 0.5:
                image, label = image[:, ::-1], label[:, ::-1]
            turns = int(rng.choice([0, 0, 0, 1, 2, 3]))
            image, label = np.rot90(image, turns), np.rot90(label, turns)
            if rng.random() < 0.3:
                image = image[:, :, rng.permutation(3)]
            if rng.random() < 0.3:
                gain = rng.uniform(0.6, 1.3, 3)
                image = np.clip(image * gain, 0, 255).astype(np.uint8)
            if rng.random() < 0.3:
                image, label = letterbox(rng, image, label)
            images[i], labels[i] = image, label
        return images, labels


def letterbox(rng: Rng, image: Array, label: Array) -> tuple[Array, Array]:
    """Crop to a random aspect and pad right or below, as pictures that are not square are served.

    SAM's padding is zero after normalising; the mean colour, rounded, is within half a level of it.
    """
    size = image.shape[0]
    kept = int(size * rng.uniform(0.5, 0.95))
    padded, empty = np.empty_like(image), np.zeros_like(label)
    padded[:] = PADDING
    if rng.random() < 0.7:  # landscape
        padded[:kept], empty[:kept] = image[:kept], label[:kept]
    else:
        padded[:, :kept], empty[:, :kept] = image[:, :kept], label[:, :kept]
    return padded, empty


def _memmap(path: Path, shape: tuple[int, ...]) -> Array:
    """A uint8 file of that shape, created empty if it is missing."""
    return np.memmap(path, np.uint8, "r+" if path.exists() else "w+", shape=shape)
