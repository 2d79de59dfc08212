"""Rates at Redis: the script is atomic, and costs one round trip for all keys.

The key of a level holds ``EVENTS MICROSECONDS``: the events that were used up, and when that was, by the clock of the
engine. It expires when time has given all of them back.
"""

SPEND = r"""
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local found = {}
for i, key in ipairs(KEYS) do
  local rate, events = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local level, at = string.match(redis.call('GET', key) or '', '^(%S+) (%d+)$')
  -- Where the clock was set back, nothing is given back before it has gone on.
  local given = level and math.max(0, now - at) * rate / 1000000 or 0
  level = math.max(0, (tonumber(level) or 0) - given) + events
  redis.call('SET', key, string.format('%.17g %.0f', level, now), 'PX', math.floor(level / rate * 1000) + 1)
  found[i] = string.format('%.6f', level)
end
return found
"""
"""Keys: one for each level. Arguments: rate (a second) and events for each."""
