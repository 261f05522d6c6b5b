"""Everything in an image: SAM's automatic mask generation.

A grid of points is asked one after another; what the model is sure of, and what does not hang on
the threshold, stays; of masks of the same thing the best stays. Semantics and defaults are those of
Meta's `SamAutomaticMaskGenerator` (segment_anything/automatic_mask_generator.py).
"""
