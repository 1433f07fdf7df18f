"""Deployment to AWS."""
