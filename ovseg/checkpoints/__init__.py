"""Checkpoint files, read without torch, and the import that makes serving models of them."""
