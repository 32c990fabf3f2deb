"""From a request to an answer: a webhook is checked here, and 204 means that it is on disk."""
