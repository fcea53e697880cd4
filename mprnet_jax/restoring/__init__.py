"""One picture -> one restored picture."""
