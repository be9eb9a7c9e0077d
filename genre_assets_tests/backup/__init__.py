"""Backup and restore, between installations on real PostgreSQL and S3."""
