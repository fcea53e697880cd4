"""Parameters on disk: bundles, who made them, and the weights that ship."""
