"""What is measured: pure functions of tensors, without randomness and without state."""
