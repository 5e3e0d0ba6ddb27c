"""One process of the lane of the Temporal Fusion Transformer: the same worker as those of LightGBM's."""

from workers.inference import main

__all__ = ["main"]
