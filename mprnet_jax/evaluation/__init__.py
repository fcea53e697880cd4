"""What `python -m mprnet_jax.evaluate` is made of.

protocols (which pairs, which scores, what was published), scoring (pairs -> scores -> results on disk), variants (the
weights and options under test), realblur and matlab_files (what two protocols need), tables, report, comparison,
html_parts and svg_plots (what is shown).
"""
