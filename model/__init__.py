"""The parts of the Label Smoothing Lab, from the loss to the figures."""
