"""The commands that people and cron run. Receiving never imports these."""
