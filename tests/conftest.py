"""Fixtures shared by all layers."""
