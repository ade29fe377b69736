"""dropkit: DropBlock and its family of structured dropout. `dropkit.torch` is its PyTorch package."""
