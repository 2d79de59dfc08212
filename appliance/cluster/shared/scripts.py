"""Shared polls at Redis: each script is atomic, and costs one round trip.

The key of a queue is a hash of ``holder`` (the incarnation that asks), ``epoch``, ``last`` (the number of the last
entry) and ``known`` (the holder has named the epoch, so it has got the answer that gave it the lease); it expires with
the lease. Its entries are keys of their own, ``QUEUE:EPOCH:NUMBER``. ``log`` is a list of the
entries of all queues, each as ``BYTES KEY``, the oldest first; ``bytes`` is their sum.
"""

LEASE = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local found = {}
for i = 1, #KEYS, 2 do
  local epoch, mode = ARGV[i + 2], ARGV[i + 3]
  local held = redis.call('HMGET', KEYS[i], 'holder', 'epoch', 'last')
  local is_own, is_new = held[1] == ARGV[1], false
  if mode == 'seize' or (mode ~= 'look' and not held[1]) or (mode == 'renew' and is_own) then
    redis.call('DEL', KEYS[i])
    redis.call('HSET', KEYS[i], 'holder', ARGV[1], 'epoch', epoch, 'last', 0)
    held, is_own, is_new = {ARGV[1], epoch, '0'}, true, true
  end
  if is_own and mode == 'look' then
    redis.call('DEL', KEYS[i])
    held = {false, false, false}
  elseif is_own then
    if epoch == held[2] and not is_new then redis.call('HSET', KEYS[i], 'known', 1) end
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  elseif held[1] and not redis.call('HGET', KEYS[i], 'known') then
    held = {false, false, false}
  end
  redis.call('ZADD', KEYS[i + 1], ms, ARGV[1])
  redis.call('ZREMRANGEBYSCORE', KEYS[i + 1], '-inf', ms - ARGV[2])
  redis.call('PEXPIRE', KEYS[i + 1], ARGV[2])
  found[#found + 1] = {held[1] or '', held[2] or '', tonumber(held[3] or 0), redis.call('ZCARD', KEYS[i + 1])}
end
return found
"""
"""Keys: queue and its nodes, for each queue. Arguments: incarnation, ms of the lease; epoch and mode for each queue."""

PUT = """
local held = redis.call('HMGET', KEYS[1], 'holder', 'epoch', 'last')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] or held[3] + 1 ~= tonumber(ARGV[3]) then return 0 end
local bytes = (redis.call('GET', KEYS[4]) or 0) + #ARGV[4]
for _ = 1, 1000 do
  local oldest = redis.call('LINDEX', KEYS[3], 0)
  if not oldest then break end
  local size, key = string.match(oldest, '^(%d+) (.*)$')
  if bytes <= tonumber(ARGV[7]) and redis.call('EXISTS', key) == 1 then break end
  redis.call('DEL', key)
  redis.call('LPOP', KEYS[3])
  bytes = bytes - size
end
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[6])
redis.call('RPUSH', KEYS[3], #ARGV[4] .. ' ' .. KEYS[2])
redis.call('SET', KEYS[4], string.format('%.0f', bytes), 'PX', 10 * ARGV[6])
redis.call('PEXPIRE', KEYS[3], 10 * ARGV[6])
redis.call('HSET', KEYS[1], 'last', ARGV[3], 'known', 1)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PUBLISH', ARGV[8], ARGV[9])
return 1
"""
"""Keys: queue, entry, log, bytes. Arguments: incarnation, epoch, number, entry, ms of the lease, ms that an entry is
kept, bytes that all of them may have, channel, queue."""

ENTRIES = """
local held = redis.call('HMGET', KEYS[1], 'epoch', 'last')
if not held[1] then return {'', 0, 0} end
local last, after = tonumber(held[2]), tonumber(ARGV[2])
if held[1] ~= ARGV[1] then return {held[1], last, last + 1} end
local found, bytes = {held[1], last, last + 1}, 0
for number = math.max(after + 1, last - 4095), last do
  local entry = redis.call('GET', KEYS[1] .. ':' .. ARGV[1] .. ':' .. string.format('%.0f', number))
  if entry then
    bytes = bytes + #entry
    if #found == 3 then found[3] = number elseif bytes > tonumber(ARGV[3]) then break end
    found[#found + 1] = entry
  elseif #found > 3 then
    break
  end
end
return found
"""
"""Keys: queue. Arguments: epoch, the number after which entries are wanted, bytes of them (one is returned in any
case)."""
