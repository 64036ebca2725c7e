"""Margin softmax heads, whole and spread over processes."""
