"""A pool of drawn scenes on the training device, and the processes that keep it fresh."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import threading
import time

import cv2
import numpy as np
import torch
from composites import Array, Library, make_scene
from torch import Tensor

SLOTS = 24  # scenes that a drawing process may be ahead of the pool


def shared(shape: tuple[int, ...], kind: type = np.uint8) -> np.ndarray:
    """A zeroed array that forked processes share."""
    count = int(np.prod(shape))
    return np.frombuffer(mmap.mmap(-1, count * np.dtype(kind).itemsize), kind).reshape(shape)


class ScenePool:
    """A ring of scenes: uint8 [capacity, S, S, 5], RGB and two label maps.

    Drawing a scene takes longer than a training step may wait, so every scene serves several times,
    each time cropped, flipped, turned and tinted anew. The processes are forked by the constructor,
    so make it before anything touches the GPU.

    Args:
        library: the source pictures, shared with the drawing processes.
        drawers: number of processes.
        size: side of a scene in pixels.
        seed: with the process's number, the seed of its scenes.
    """

    def __init__(self, library: Library, drawers: int, size: int, seed: int) -> None:
        self.size, self.count = size, 0
        self.rings = shared((drawers, SLOTS, size, size, 5))
        self.drawn, self.taken = shared((drawers,), np.int64), shared((drawers,), np.int64)
        fork = multiprocessing.get_context("fork")
        self.processes = [
            fork.Process(target=self._draw, args=(library, index, seed), daemon=True)
            for index in range(drawers)
        ]
        for process in self.processes:
            process.start()

    def _draw(self, library: Library, index: int, seed: int) -> None:
        """Body of a process: fill its ring for ever, waiting while it is full."""
        cv2.setNumThreads(1)
        os.nice(5)
        rng = np.random.default_rng([seed, index])
        while True:
            while self.drawn[index] - self.taken[index] >= SLOTS:
                time.sleep(0.01)
            slot: Array = self.rings[index, self.drawn[index] % SLOTS]
            slot[:, :, :3], slot[:, :, 3:] = make_scene(rng, library, self.size)
            self.drawn[index] += 1

    def open(self, device: torch.device, capacity: int) -> None:
        """Make the ring on the device and start moving scenes into it."""
        self.device = device
        self.scenes = torch.zeros(
            (capacity, self.size, self.size, 5), dtype=torch.uint8, device=device
        )
        threading.Thread(target=self._move, daemon=True).start()

    def _move(self) -> None:
        """Body of a thread: take drawn scenes to the device, on a stream of its own."""
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        with torch.cuda.stream(stream):
            while True:
                moved = 0
                for index in range(len(self.drawn)):
                    drawn = int(self.drawn[index])
                    for number in range(int(self.taken[index]), drawn):
                        scene = torch.from_numpy(self.rings[index, number % SLOTS])
                        self.scenes[(self.count + moved) % len(self.scenes)].copy_(scene)
                        moved += 1
                    if stream is not None:
                        stream.synchronize()
                    self.taken[index] = drawn
                self.count += moved
                time.sleep(0.02)

    def sample(self, batch: int) -> Tensor:
        """Random scenes [batch, S, S, 5]."""
        filled = min(self.count, len(self.scenes))
        return self.scenes[torch.randint(filled, (batch,), device=self.device)]

    def close(self) -> None:
        """Stop the drawing processes."""
        for process in self.processes:
            process.terminate()
