"""What the service remembers, also where a service on another machine finds it."""
