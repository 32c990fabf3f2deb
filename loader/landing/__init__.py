"""Moves deliveries from the inbox into `landing.webhooks`, each exactly once."""
