"""The Segment Anything network in PaddlePaddle: image encoders, prompt encoder, mask decoder."""
