"""Deployment to AWS, and a Lambda on this machine."""
