"""One line of JSON an event, on standard error. Never a secret, never a body."""

import json
import logging
from datetime import UTC, datetime

LOG = logging.getLogger("loader")

CONFIGURATION = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "loader.log.JsonFormatter"}},
    "filters": {"advice": {"()": "loader.log.WithoutAdvice"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["advice"]}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"_granian": {"level": "INFO"}, "granian.access": {"level": "ERROR"}},
}


class WithoutAdvice(logging.Filter):
    """Granian advises fewer threads; ours wait for the disk, most of the time."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "Python threads" not in record.getMessage()


class JsonFormatter(logging.Formatter):
    """Time, level and message, then what the caller gave as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)
