"""What `python -m mprnet_jax.evaluate` is made of.

protocols (which pairs, which scores, what was published), scoring (pairs -> scores -> results on disk), candidates (the
weights and options under test), realblur and matlab (what two protocols need), tables, result_page and comparison
(what is shown, with the parts in mprnet_jax.reports).
"""
