"""How commands reach the service: its address, a credential, HTTP and its streams of events."""
