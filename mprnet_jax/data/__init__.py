"""Pictures to train on: where they lie, what is done to them, and the batches made of them."""
