"""What the gateway records: counters, durations, timelines of connections, and events."""
