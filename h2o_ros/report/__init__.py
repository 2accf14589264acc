"""What a person sees of a run: progress line, TensorBoard files, picture and summary."""
