"""From the inbox into `landing.webhooks`, each delivery exactly once."""
