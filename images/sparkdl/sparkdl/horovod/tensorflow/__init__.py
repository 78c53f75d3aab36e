"""For training functions that use TensorFlow."""
