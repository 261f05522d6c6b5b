"""The pure functions behind Triton's stages. Nothing here imports Triton."""
