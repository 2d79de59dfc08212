"""The replica: takes calls, executes messages, answers queries."""
