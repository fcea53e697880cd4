"""What every part may use, and what knows of none: errors, atomic files, progress, options. No JAX here."""
