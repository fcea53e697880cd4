"""The web page of mprnet_jax.demo: what it offers, where it keeps photos for how long, what it lets through.

`page.py` and `actions.py` alone need Gradio (extra `demo`).
"""
