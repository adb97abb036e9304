"""The decisions of `core.quota` as scripts of a Valkey or Redis server, one call each.

A script runs alone in the server, so replicas that ask at once are decided one after the other,
and the server's clock is the only one. The rules are those of `core.window` and `core.quota`,
and a test holds both to the same answers.

Keys per scope, in this order: in flight (sorted set: ticket by the end of its lease), requests
and tokens (hashes: amount by second). All keys of a call share a hash tag, so that they lie on
one node of a cluster.
"""

KEYS_PER_SCOPE = 3

_SHARED = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local slot = math.floor(now)
local oldest = slot - 60
"""

ADMIT = (
    _SHARED
    + """
-- ARGV: ticket, lease in seconds, tokens, then per scope: concurrent, requests, tokens ('' none)
local function read(key)
  local raw, used, slots, over = redis.call('HGETALL', key), 0, {}, {}
  for i = 1, #raw, 2 do
    local at, amount = tonumber(raw[i]), tonumber(raw[i + 1])
    if at < oldest then
      table.insert(over, raw[i])
    else
      used = used + amount
      table.insert(slots, {at, amount})
    end
  end
  if #over > 0 then redis.call('HDEL', key, unpack(over)) end
  table.sort(slots, function(one, other) return one[1] < other[1] end)
  return {used = used, slots = slots}
end

local function free_in(window, limit, amount)
  local over = window.used + math.min(amount, limit) - limit
  for _, entry in ipairs(window.slots) do
    if over <= 0 then break end
    over = over - entry[2]
    if over <= 0 then return entry[1] + 61 - now end
  end
  return 0
end

local function reset_in(window)
  for i = #window.slots, 1, -1 do
    if window.slots[i][2] > 0 then return window.slots[i][1] + 61 - now end
  end
  return 0
end

local id, lease_s, tokens = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local windows, refused = {}, nil
for scope = 1, #KEYS / 3 do
  local first = 3 * scope
  local most = tonumber(ARGV[first + 1])
  if most then
    redis.call('ZREMRANGEBYSCORE', KEYS[first - 2], '-inf', now)
    if not refused and redis.call('ZCARD', KEYS[first - 2]) >= most then
      refused = {scope, 1, 1000}
    end
  end
  for kind = 2, 3 do
    local limit = tonumber(ARGV[first + kind])
    if limit then
      local window = read(KEYS[first - 3 + kind])
      windows[first - 3 + kind] = window
      local amount = kind == 2 and 1 or tokens
      local wait_s = amount > 0 and free_in(window, limit, amount) or 0
      if not refused and wait_s > 0 then refused = {scope, kind, math.ceil(wait_s * 1000)} end
    end
  end
end

if not refused then
  for scope = 1, #KEYS / 3 do
    local first = 3 * scope
    if ARGV[first + 1] ~= '' then
      redis.call('ZADD', KEYS[first - 2], now + lease_s, id)
      redis.call('EXPIRE', KEYS[first - 2], math.ceil(lease_s) + 60)
    end
    for kind = 2, 3 do
      local key = KEYS[first - 3 + kind]
      if ARGV[first + kind] ~= '' then
        local amount = kind == 2 and 1 or tokens
        redis.call('HINCRBY', key, slot, amount)
        redis.call('EXPIRE', key, 122)
        local window = windows[first - 3 + kind]
        window.used = window.used + amount
        table.insert(window.slots, {slot, amount})
      end
    end
  end
end

local answer = refused or {0, 0, 0}
table.insert(answer, slot)
for kind = 2, 3 do
  local window = windows[kind]
  table.insert(answer, window and window.used or -1)
  table.insert(answer, window and math.ceil(reset_in(window) * 1000) or 0)
end
return answer
"""
)
"""Answers scope (from 1; 0 is admitted), kind (1 concurrent, 2 requests, 3 tokens), ms to wait,
the second it was charged in, then of the first scope used and ms to reset, requests and tokens."""

SETTLE = (
    _SHARED
    + """
-- ARGV: ticket, second it was charged in, tokens charged, tokens used, then '1' or '' per scope
local id, charged_at = ARGV[1], tonumber(ARGV[2])
local charged, used = tonumber(ARGV[3]), tonumber(ARGV[4])
for scope = 1, #KEYS / 3 do
  local first = 3 * scope
  redis.call('ZREM', KEYS[first - 2], id)
  local key = KEYS[first]
  if ARGV[4 + scope] ~= '' then
    if used > charged then
      redis.call('HINCRBY', key, slot, used - charged)
      redis.call('EXPIRE', key, 122)
    elseif charged_at >= oldest then
      local left = tonumber(redis.call('HGET', key, charged_at) or 0)
      local back = math.min(charged - used, left)
      if back > 0 then redis.call('HINCRBY', key, charged_at, -back) end
    end
  end
end
return 1
"""
)
"""Undoes the place and corrects the tokens of one ticket; call it once."""
