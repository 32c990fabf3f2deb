"""The commands that people and cron call. Receiving never imports these."""
