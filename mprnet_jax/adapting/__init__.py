"""Weights for one camera from its noisy photos alone: measure the noise, train on pairs made with it, check."""
