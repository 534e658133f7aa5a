"""Probes: short measurements, bounded in time and bytes, that say what they cost before they run."""
