"""Times as the API writes them."""

from plugvisor.timestamps import format_time, to_microseconds

__all__ = ["format_time", "to_microseconds"]
