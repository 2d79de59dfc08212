"""What nodes do at Redis in one step: each script is atomic, and costs one round trip.

Values of the key of a place: ``h:SINCE:INCARNATION:NODE`` while a process has a session (SINCE: ns since 1970, 20
digits), ``c:INCARNATION:NODE`` while a process makes its close call. The key of a node holds its incarnation and the
number of its last heartbeat. The key ``doubt`` holds until when claims are doubted (ms since 1970, by the clock of the
engine): an engine that has lost what it held has no such key, and is known by that.
"""

BEAT = """
local facts = redis.call('GET', KEYS[1])
if facts and facts ~= ARGV[1] then return {'facts', facts} end
local held = redis.call('GET', KEYS[2])
local is_own = held and string.sub(held, 1, #ARGV[3]) == ARGV[3]
if held and not is_own and held ~= ARGV[5] then return {'held', held} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[7])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[7])
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local doubt = math.max(tonumber(redis.call('GET', KEYS[4]) or ms + ARGV[9]), ms + ARGV[8])
local at, before = string.match(redis.call('HGET', KEYS[3], ARGV[2]) or '', '^(%d+)|(%x+)|')
if before and before ~= ARGV[3] then doubt = math.max(doubt, at + ARGV[9]) end
redis.call('SET', KEYS[4], string.format('%.0f', doubt), 'PX', ARGV[10])
redis.call('HSET', KEYS[3], ARGV[2], string.format('%.0f', ms) .. '|' .. ARGV[3] .. '|' .. ARGV[6])
return {'joined', is_own and 1 or 0}
"""
"""Keys: facts, node, nodes, doubt. Arguments: facts, name, incarnation, value, the value that may be replaced, info, ms
that the name is held, ms that claims are doubted because of this node, ms where more is unknown, ms that ``doubt`` is
kept."""

LEAVE = """
local held = redis.call('GET', KEYS[2])
if not held or string.sub(held, 1, #ARGV[2]) ~= ARGV[2] then return end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[3], ARGV[1])
if redis.call('HLEN', KEYS[3]) == 0 then redis.call('DEL', KEYS[1]) end
"""
"""Keys: facts, node, nodes, doubt. Arguments: name, incarnation."""

NODES = """
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local all, found = redis.call('HGETALL', KEYS[1]), {}
local doubt = tonumber(redis.call('GET', KEYS[2]))
local is_doubted = false
for i = 1, #all, 2 do
  local at, incarnation, info = string.match(all[i + 1], '^(%d+)|(%x+)|(.*)$')
  local silent = at and ms - tonumber(at)
  if silent and silent <= tonumber(ARGV[1]) then
    found[#found + 1] = {all[i], incarnation, math.max(0, silent), info}
    if doubt and silent > tonumber(ARGV[2]) and at + ARGV[3] > doubt then
      doubt, is_doubted = at + ARGV[3], true
    end
  else
    redis.call('HDEL', KEYS[1], all[i])
  end
end
if is_doubted then redis.call('SET', KEYS[2], string.format('%.0f', doubt), 'PX', ARGV[1]) end
return found
"""
"""Keys: nodes, doubt. Arguments: ms after which a node is forgotten, ms after which it is silent, ms from its last
heartbeat that claims are doubted then."""

CLAIM = """
if ARGV[6] ~= '' then
  local held = redis.call('GET', KEYS[2])
  local process, closing = string.match(held or '', '^c:(%x+):(.*)$')
  if closing and closing ~= ARGV[1] then
    local name = redis.call('GET', ARGV[6] .. closing)
    if name and string.sub(name, 1, #process) == process then return 'leaving' end
  end
end
if ARGV[3] ~= '0' then
  local claimed = redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3])
  if not claimed and redis.call('GET', KEYS[1]) ~= ARGV[2] then return 'used' end
end
if ARGV[6] ~= '' then redis.call('SET', KEYS[2], 'h:' .. ARGV[4] .. ':' .. ARGV[2] .. ':' .. ARGV[1], 'PX', ARGV[5]) end
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
if ARGV[3] ~= '0' and ms < tonumber(redis.call('GET', KEYS[3]) or ms + 1) then return 'doubted' end
return 'granted'
"""
"""Keys: opening, place, doubt. Arguments: node, incarnation, ms that the claim stands (0: none), since, ms that the
place is held, prefix of the keys of nodes (empty: no place)."""

HOLD = """
for i, key in ipairs(KEYS) do
  local held = redis.call('GET', key)
  local since, node = string.match(held or '', '^h:(%d+):%x+:(.*)$')
  if not held or (node and (node == ARGV[1] or since < ARGV[3 + i])) then
    redis.call('SET', key, 'h:' .. ARGV[3 + i] .. ':' .. ARGV[2] .. ':' .. ARGV[1], 'PX', ARGV[3])
  end
end
"""
"""Keys: places. Arguments: node, incarnation, ms that they are held, since when each."""

RELEASE = """
local name = redis.call('GET', KEYS[2])
if not name or string.sub(name, 1, #ARGV[3]) ~= ARGV[3] then return 'unknown' end
local held = redis.call('GET', KEYS[1]) or ''
local process, node = string.match(held, '^h:%d+:(%x+):(.*)$')
if not node then process, node = string.match(held, '^c:(%x+):(.*)$') end
if node and node ~= ARGV[1] then
  local living = redis.call('GET', ARGV[4] .. node)
  return living and string.sub(living, 1, #process) == process and 'taken' or 'unknown'
end
redis.call('SET', KEYS[1], 'c:' .. ARGV[3] .. ':' .. ARGV[1], 'PX', ARGV[2])
return 'free'
"""
"""Keys: place, node. Arguments: node, ms that it is being closed at most, incarnation, prefix of the keys of nodes."""

RELEASED = """
if redis.call('GET', KEYS[1]) == 'c:' .. ARGV[2] .. ':' .. ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
"""Keys: place. Arguments: node, incarnation."""
