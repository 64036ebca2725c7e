"""Blocks inside backbones: attention, PReLU, wavelets, staged residual nets."""
