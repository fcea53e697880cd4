"""Parts of pages that stand alone: one HTML file with its pictures and plots.

pages fills templates (Jinja2; the common ones, the style and the script lie in templates/), pictures makes what a
browser shows, svg_plots draws histograms and scatter plots, picks chooses which items of a list are shown.
"""
