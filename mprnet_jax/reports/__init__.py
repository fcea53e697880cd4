"""Parts of pages that stand alone: one HTML file with its pictures and plots."""
