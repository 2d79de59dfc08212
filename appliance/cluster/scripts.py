"""What nodes do at Redis in one step: each script is atomic, and costs one round trip.

Values of the key of a place: ``h:SINCE:INCARNATION:NODE`` while a process has a session, ``c:SINCE:INCARNATION:NODE``
while it makes its close call (SINCE: ms since 1970, by the clock of the engine). After that ``e:`` with the same says
for a while that the session has ended: whoever asks who has the place finds nobody. The key of a node holds its
incarnation and the number of its last heartbeat. The key ``doubt`` holds until when claims are doubted (ms since 1970,
by the clock of the engine): an engine that has lost what it held has no such key, and is known by that. The hash
``unconfirmed`` has the incarnation of each node that has a heartbeat and has not confirmed its places so far, and the
key ``server`` the name of the process of Redis that had the last heartbeat.
"""

BEAT = """
if redis.call('EXISTS', ARGV[11] .. 'given:' .. ARGV[3]) == 1 then return {'given'} end
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
if before and before ~= ARGV[3] then
  doubt = math.max(doubt, at + ARGV[9])
  local past, of_name, oldest, its_at = ARGV[11] .. 'past', 0, nil, nil
  redis.call('HSET', past, before .. ':' .. ARGV[2], redis.call('HGET', KEYS[3], ARGV[2]))
  local all = redis.call('HGETALL', past)
  for i = 1, #all, 2 do
    local time = tonumber(string.match(all[i + 1], '^(%d+)|') or 0)
    if string.sub(all[i], 18) == ARGV[2] then
      of_name = of_name + 1
      if not its_at or time < its_at then oldest, its_at = all[i], time end
    end
  end
  if of_name > tonumber(ARGV[13]) then redis.call('HDEL', past, oldest) end
end
-- Another server than the one that held all this may lack the end of it: it took over from that, or has read it from
-- a disk.
local server, one = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'), ARGV[11] .. 'server'
local last = redis.call('GET', one)
if server and last ~= server then
  if last then doubt = math.max(doubt, ms + ARGV[9]) end
  redis.call('SET', one, server, 'PX', ARGV[10])
else
  redis.call('PEXPIRE', one, ARGV[10])
end
redis.call('SET', KEYS[4], string.format('%.0f', doubt), 'PX', ARGV[10])
redis.call('HSET', KEYS[3], ARGV[2], string.format('%.0f', ms) .. '|' .. ARGV[3] .. '|' .. ARGV[6])
local unconfirmed = ARGV[11] .. 'unconfirmed'
if ARGV[12] == '1' then
  redis.call('HDEL', unconfirmed, ARGV[2])
else
  redis.call('HSET', unconfirmed, ARGV[2], ARGV[3])
  redis.call('PEXPIRE', unconfirmed, ARGV[10])
end
return {'joined', is_own and 1 or 0, ms, server or ''}
"""
"""Keys: facts, node, nodes, doubt. Arguments: facts, name, incarnation, value, the value that may be replaced, info, ms
that the name is held, ms that claims are doubted because of this node, ms where more is unknown, ms that ``doubt`` is
kept, prefix of all keys, 1 where the engine knows the places of this node, earlier processes of a name that are
remembered."""

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

NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
PLACE = r"""
local function place_of(key)
  return string.match(redis.call('GET', key) or '', '^([hc]):(%d+):(%x+):(.*)$')
end
-- Since when the last session of a place, and at which node, is known to have been ended.
local function ended_of(key)
  return string.match(redis.call('GET', key) or '', '^e:(%d+):%x+:(.*)$')
end
local function hold(key, state, since, incarnation, node, ms)
  redis.call('SET', key, state .. ':' .. string.format('%.0f', since) .. ':' .. incarnation .. ':' .. node, 'PX', ms)
end
local function let_go(key, incarnation, node, ms)
  local state, at, process, name = place_of(key)
  if state == 'c' and process == incarnation and name == node then hold(key, 'e', at, process, name, ms) end
end
local function lives(prefix, node, incarnation)
  return string.sub(redis.call('GET', prefix .. node) or '', 1, #incarnation) == incarnation
end
local function was_given(prefix, incarnation)
  return redis.call('EXISTS', prefix .. 'given:' .. incarnation) == 1
end
-- Whether a node may have a client of which the engine knows nothing: any that is silent, or was, and not given up; or
-- that has returned, and has not been heard of as the process that goes on.
local function someone_silent(prefix, now, ms, except)
  local all = redis.call('HGETALL', prefix .. 'nodes')
  for i = 1, #all, 2 do
    local at, process = string.match(all[i + 1], '^(%d+)|(%x+)|')
    if all[i] ~= except and at then
      local given = redis.call('GET', prefix .. 'given:' .. process)
      local is_unknown = now - at > tonumber(ms) or redis.call('HGET', prefix .. 'unconfirmed', all[i]) == process
      if given == 'returned' or (is_unknown and given ~= 'given') then return true end
    end
  end
  return false
end
"""

CLAIM = (
    NOW
    + PLACE
    + """
local is_placed = ARGV[6] ~= ''
local since = math.min(now, tonumber(ARGV[4]))
if was_given(ARGV[7], ARGV[2]) then return 'given' end
if is_placed then
  local state, at, process, node = place_of(KEYS[2])
  if state == 'c' and node ~= ARGV[1] and lives(ARGV[6], node, process) then return 'leaving' end
  at = at or ended_of(KEYS[2])
  -- Where the clock of the engine was set back, what was written before lies ahead and says nothing.
  is_placed = not (at and tonumber(at) > since and tonumber(at) <= now)
end
if ARGV[3] ~= '0' then
  local claimed = redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3])
  if not claimed and redis.call('GET', KEYS[1]) ~= ARGV[2] then return 'used' end
end
if is_placed then hold(KEYS[2], 'h', since, ARGV[2], ARGV[1], ARGV[5]) end
local is_late = now - since > tonumber(ARGV[11])
if ARGV[3] ~= '0' and (is_late or now < tonumber(redis.call('GET', KEYS[3]) or now + 1)) then return 'doubted' end
if ARGV[8] ~= '' and not is_late then
  redis.call('HSET', ARGV[7] .. 'known:' .. ARGV[1], ARGV[8], ARGV[9])
  redis.call('PEXPIRE', ARGV[7] .. 'known:' .. ARGV[1], ARGV[10])
  redis.call('HDEL', ARGV[7] .. 'told:' .. ARGV[1], ARGV[8])
end
return 'granted'
"""
)
"""Keys: opening, place, doubt. Arguments: node, incarnation, ms that the claim stands (0: none), the latest that it was
sent, ms that the place is held, prefix of the keys of nodes (empty: no place), prefix of all keys, field and
entry of the client (empty: none), ms that entries stay, ms after which a claim is late."""

HOLD = (
    NOW
    + PLACE
    + """
if was_given(ARGV[4], ARGV[2]) then return end
for i, key in ipairs(KEYS) do
  local since = math.min(now, tonumber(ARGV[4 + i]))
  local state, at, process, node = place_of(key)
  local is_later = at and tonumber(at) >= since and tonumber(at) <= now
  -- A client that came later than another node began its close call: that node may not have heard that it might, and
  -- asks again. Here, a client waits for its earlier close call.
  -- Another node that ended a session did so without knowing of this one: only of its own does a node know the end.
  local ended, ender = ended_of(key)
  local is_ended = ended and ender == ARGV[1] and tonumber(ended) > since and tonumber(ended) <= now
  if not is_ended and (not (state and is_later) or (state == 'h' and node == ARGV[1])) then
    hold(key, 'h', since, ARGV[2], ARGV[1], ARGV[3])
  end
end
"""
)
"""Keys: places. Arguments: node, incarnation, ms that they are held, prefix of all keys, since when each."""

RELEASE = (
    NOW
    + PLACE
    + """
if not lives(ARGV[4], ARGV[1], ARGV[3]) then return 'unknown' end
local state, at, process, node = place_of(KEYS[1])
if state and node ~= ARGV[1] then
  if lives(ARGV[4], node, process) then return 'taken' end
  if not was_given(ARGV[5], process) then return 'unknown' end
end
if someone_silent(ARGV[5], now, ARGV[6], ARGV[1]) then return 'unknown' end
hold(KEYS[1], 'c', now, ARGV[3], ARGV[1], ARGV[2])
return 'free'
"""
)
"""Keys: place. Arguments: node, ms that it is being closed at most, incarnation, prefix of the keys of nodes, prefix of
all keys, ms after which a node is silent."""

RELEASED = (
    PLACE
    + """
let_go(KEYS[1], ARGV[2], ARGV[1], ARGV[3])
"""
)
"""Keys: place. Arguments: node, incarnation, ms that the end is known."""
