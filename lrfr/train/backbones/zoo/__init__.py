"""Architectures of other fields that face recognition borrows: vision transformers, Inception-ResNet."""
