"""Reports of a run: progress line, TensorBoard files, picture and summary."""
