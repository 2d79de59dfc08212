"""What ``gateway.yaml`` may say and how it is read."""
