"""What can be wrong with a checkpoint. Every message is one line, meant for the user."""

from __future__ import annotations


class CheckpointError(Exception):
    """A checkpoint cannot be imported."""


class UnreadableCheckpointError(CheckpointError):
    """The file is missing, truncated, damaged, or not a checkpoint at all."""


class UnsafeCheckpointError(CheckpointError):
    """The file's pickle asks for something that a state dict has no need of."""


class UnknownVariantError(CheckpointError):
    """There is no network configuration of that name."""


class MissingKeyError(CheckpointError):
    """The network has a parameter that the checkpoint lacks."""


class UnexpectedKeyError(CheckpointError):
    """The checkpoint has a tensor that the network has no place for."""


class WrongShapeError(CheckpointError):
    """A tensor's shape is not that of the network's parameter."""


class DownloadError(CheckpointError):
    """A file could not be downloaded, or is not the one that was expected."""
