"""The new home: preflight, provisioning, and services that start in order."""
