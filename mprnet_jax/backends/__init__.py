"""Rewrites of the network for a kind of device: the same parameters, the same outputs, faster."""
