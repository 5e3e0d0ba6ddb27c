"""The Temporal Fusion Transformer (Lim et al. 2021), of extra `tft`: trained by PyTorch, served by onnxruntime.

Training makes a network that forecasts quantiles of the return over the next bars from the features of the
last sixty, and a logistic regression from that forecast to the event that every component of the ensemble
gives the probability of. What serves is its ONNX export: no process of a daemon loads PyTorch.
"""
