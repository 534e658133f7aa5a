"""The cloud account through boto3, read-only: one small reader per service."""
