"""What nodes do at Redis in one step about clients and nodes that are given up. See ``cluster.scripts``.

Keys, each behind the prefix of the cluster: ``known:NODE`` has the entries of a node, each ``INCARNATION…`` as it was
sealed; ``telling:NODE`` those that are being told, as ``INCARNATION:NODE:MS:ENTRY`` of who does it and since when;
``told:NODE`` those that others told, as ``INCARNATION:MS``, until the node writes or removes their entry;
``count:INCARNATION`` how many.
``given:INCARNATION`` is there for a process that is given up: ``given``, or ``returned`` once it knows;
``giver:INCARNATION`` has the incarnation that speaks for it, and ``attested:INCARNATION`` is there while the word of a
node counts that has heard it; ``gave:INCARNATION`` says who gave it up, as ``NODE|MS``. The hash ``past`` has the
records of processes whose name another one holds by now, by ``INCARNATION:NODE``.
"""

from appliance.cluster.scripts import NOW, PLACE

WRITE = (
    PLACE
    + """
local prefix, node = ARGV[1], ARGV[2]
if not lives(prefix .. 'node:', node, ARGV[3]) then return 0 end
local known = prefix .. 'known:' .. node
for i = 5, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', known, ARGV[i])
  else
    redis.call('HSET', known, ARGV[i], ARGV[i + 1])
  end
  redis.call('HDEL', prefix .. 'told:' .. node, ARGV[i])
end
redis.call('PEXPIRE', known, ARGV[4])
return 1
"""
)
"""Arguments: prefix, node, incarnation, ms that entries stay, and field and entry (empty: none) in turn."""

SUSPECTS = (
    NOW
    + """
local prefix, found = ARGV[1], {}
for _, key in ipairs({'nodes', 'past'}) do
  local all = redis.call('HGETALL', prefix .. key)
  for i = 1, #all, 2 do
    local name = key == 'past' and string.sub(all[i], 18) or all[i]
    local at, incarnation, info = string.match(all[i + 1], '^(%d+)|(%x+)|(.*)$')
    local given = at and redis.call('GET', prefix .. 'given:' .. incarnation)
    if at and name ~= '' and (given or now - at <= tonumber(ARGV[2])) then
      local by, when = string.match(redis.call('GET', prefix .. 'gave:' .. incarnation) or '|0', '^(.*)|(%d+)$')
      local clients = redis.call('HLEN', prefix .. 'known:' .. name)
      local told = tonumber(redis.call('GET', prefix .. 'count:' .. incarnation) or 0)
      found[#found + 1] = {name, incarnation, math.max(0, now - at), info, key == 'past' and 1 or 0, given or '', by,
        tonumber(when), clients, told, redis.call('EXISTS', prefix .. 'attested:' .. incarnation)}
    elseif key == 'past' then
      redis.call('HDEL', prefix .. key, all[i])
    end
  end
end
return found
"""
)
"""Arguments: prefix, ms after which a process is forgotten."""

ATTEST = (
    PLACE
    + """
if lives(ARGV[1] .. 'node:', ARGV[2], ARGV[3]) then
  redis.call('SET', ARGV[1] .. 'attested:' .. ARGV[4], ARGV[2], 'PX', ARGV[5])
end
"""
)
"""Arguments: prefix, node, incarnation, incarnation that was heard, ms that this counts."""

GIVE_UP = (
    NOW
    + PLACE
    + """
local prefix, node, incarnation = ARGV[1], ARGV[4], ARGV[5]
if not lives(prefix .. 'node:', ARGV[2], ARGV[3]) or lives(prefix .. 'node:', node, incarnation) then return 0 end
local given = redis.call('GET', prefix .. 'given:' .. incarnation)
if given ~= 'given' then
  -- One that has returned may die before the engine knows the process that goes on.
  local is_silent, records = false, {nodes = node, past = not given and incarnation .. ':' .. node or nil}
  for key, field in pairs(records) do
    local at, process = string.match(redis.call('HGET', prefix .. key, field) or '', '^(%d+)|(%x+)|')
    if process == incarnation and now - at >= tonumber(ARGV[6]) then is_silent = true end
  end
  if not is_silent or redis.call('EXISTS', prefix .. 'attested:' .. incarnation) == 1 then return 0 end
  redis.call('SET', prefix .. 'given:' .. incarnation, 'given', 'PX', ARGV[7])
  redis.call('SET', prefix .. 'gave:' .. incarnation, ARGV[2] .. '|' .. string.format('%.0f', now), 'PX', ARGV[7])
end
local giver = prefix .. 'giver:' .. incarnation
if not redis.call('SET', giver, ARGV[3], 'NX', 'PX', ARGV[8]) then
  if redis.call('GET', giver) ~= ARGV[3] then return 0 end
  redis.call('PEXPIRE', giver, ARGV[8])
end
return 1
"""
)
"""Arguments: prefix, node, incarnation, node and incarnation that are given up, ms of silence, ms that it is known, ms
that the giver speaks for it."""

TELL = (
    NOW
    + PLACE
    + """
local prefix, node, incarnation, owner, process, field = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local names = prefix .. 'node:'
if not lives(names, node, incarnation) then return 'unknown' end
local known, telling, told = prefix .. 'known:' .. owner, prefix .. 'telling:' .. owner, prefix .. 'told:' .. owner
local entry, by = nil, redis.call('HGET', telling, field)
if by then
  local teller, name, value = string.match(by, '^(%x+):([^:]*):%d+:(.*)$')
  if teller ~= incarnation and lives(names, name, teller) then return 'unknown' end
  entry = value
else
  entry = redis.call('HGET', known, field)
end
if owner ~= node then
  if not entry or string.sub(entry, 1, 16) ~= process then return 'taken' end
  if redis.call('GET', prefix .. 'given:' .. process) ~= 'given' then
    if by then  -- this node did not hear that it might tell, and now the owner does it
      redis.call('HDEL', telling, field)
      redis.call('HSETNX', known, field, entry)
      redis.call('PEXPIRE', known, ARGV[9])
      if KEYS[1] then
        local state, at, holder, name = place_of(KEYS[1])
        if state == 'c' and holder == incarnation and name == node then redis.call('DEL', KEYS[1]) end
      end
    end
    return 'taken'
  end
elseif not by then
  local since = string.match(redis.call('HGET', told, field) or '', ':(%d+)$')
  if since and tonumber(since) > tonumber(ARGV[10]) then return 'taken' end
end
local function taken()
  redis.call('HDEL', known, field)
  redis.call('HDEL', telling, field)
  return 'taken'
end
if not KEYS[1] then
  local all = redis.call('HGETALL', prefix .. 'nodes')
  for i = 1, #all, 2 do
    if all[i] ~= owner then
      local at, other = string.match(all[i + 1], '^(%d+)|(%x+)|')
      local has = redis.call('HGET', prefix .. 'known:' .. all[i], field)
      if other and has and string.sub(has, 1, 16) == other and lives(names, all[i], other) then return taken() end
    end
  end
else
  local state, at, holder, name = place_of(KEYS[1])
  if state and lives(names, name, holder) and (name ~= node or (state == 'h' and owner ~= node)) then return taken() end
  if state and name ~= node and not (name == owner and (owner == node or holder == process)) then
    -- One that has returned holds what is its own as the process that goes on.
    if not was_given(prefix, holder) then return 'unknown' end
  end
  if someone_silent(prefix, now, ARGV[8], node) then return 'unknown' end
  hold(KEYS[1], 'c', now, incarnation, node, ARGV[7])
end
if entry then
  redis.call('HDEL', known, field)
  redis.call('HSET', telling, field, incarnation .. ':' .. node .. ':' .. string.format('%.0f', now) .. ':' .. entry)
  redis.call('PEXPIRE', telling, ARGV[9])
end
return 'free'
"""
)
"""Keys: place, or none. Arguments: prefix, node, incarnation, node and incarnation that had the client, field, ms
that the place is being closed at most, ms after which a node is silent, ms that it is known, time until which what was
told was of an earlier session."""

TOLD = (
    NOW
    + PLACE
    + """
local prefix, node, incarnation, owner, field = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if KEYS[1] then let_go(KEYS[1], incarnation, node, ARGV[8]) end
local telling = prefix .. 'telling:' .. owner
local teller, since, entry = string.match(redis.call('HGET', telling, field) or '', '^(%x+):[^:]*:(%d+):(.*)$')
if teller ~= incarnation then return end
redis.call('HDEL', telling, field)
if ARGV[6] == '1' and owner ~= node then
  local count = prefix .. 'count:' .. string.sub(entry, 1, 16)
  redis.call('INCR', count)
  redis.call('PEXPIRE', count, ARGV[7])
  redis.call('HSET', prefix .. 'told:' .. owner, field, string.sub(entry, 1, 16) .. ':' .. since)
  redis.call('PEXPIRE', prefix .. 'told:' .. owner, ARGV[7])
elseif ARGV[6] ~= '1' then
  redis.call('HSETNX', prefix .. 'known:' .. owner, field, entry)
  redis.call('PEXPIRE', prefix .. 'known:' .. owner, ARGV[7])
end
"""
)
"""Keys: place, or none. Arguments: prefix, node, incarnation, node that had the client, field, 1 where it was told,
ms that it is known, ms that the end of a session is known by its place."""

RETURNED = (
    NOW
    + """
local key, nodes = ARGV[1] .. 'given:' .. ARGV[2], ARGV[1] .. 'nodes'
if redis.call('EXISTS', key) == 1 then redis.call('SET', key, 'returned', 'PX', ARGV[3]) end
redis.call('DEL', ARGV[1] .. 'giver:' .. ARGV[2])
local process, info = string.match(redis.call('HGET', nodes, ARGV[4]) or '', '^%d+|(%x+)|(.*)$')
if process == ARGV[2] then
  redis.call('HSET', nodes, ARGV[4], string.format('%.0f', now) .. '|' .. process .. '|' .. info)
end
"""
)
"""Arguments: prefix, incarnation, ms that it is known, node. It is a sign of life, as a heartbeat."""
