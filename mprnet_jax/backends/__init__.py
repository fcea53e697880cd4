"""Rewrites of the network for a kind of device: same parameters, same outputs, faster."""
