"""A made-up community of any size: the same seed, size and date give the same one, byte for byte."""
