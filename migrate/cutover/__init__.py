"""Leaving the old home: what is lost if it ends now, and the moment it is switched off."""
