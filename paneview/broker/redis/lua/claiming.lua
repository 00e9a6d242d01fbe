-- How jobs are leased.

local function promote()
  local due = redis.call('ZRANGEBYSCORE', B .. 'delayed', '-inf', int(now), 'LIMIT', 0, AT_ONCE)
  if #due > 0 then check_room() end
  for _, id in ipairs(due) do
    more.withdraw(id, 'delayed')
    more.queue_or_delay(id, 0)
  end
  return #due
end

-- Whether the server is another than when leases last ran out: restarted, or a replica that took over.
local function returned()
  local info = redis.pcall('INFO', 'server')
  local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
  local known = run and redis.call('GET', B .. 'run')
  if not run or known == run then return false end
  redis.call('SET', B .. 'run', run)
  return known
end

local function expire()
  local late = redis.call('ZRANGEBYSCORE', B .. 'leases', '-inf', int(now), 'LIMIT', 0, AT_ONCE)
  if #late > 0 and returned() then -- nobody could renew them while it was away: now their holders can
    for _, id in ipairs(redis.call('ZRANGE', B .. 'leases', 0, -1)) do
      local till = int(now + (whole(get(id, 'lease_ms')[1]) or 0))
      redis.call('ZADD', B .. 'leases', till, id)
      if redis.call('EXISTS', job_key(id)) == 1 then redis.call('HSET', job_key(id), 'lease_until', till) end
    end
    return {}
  end
  for _, id in ipairs(late) do
    local seconds = string.format('%g', (whole(get(id, 'lease_ms')[1]) or 0) / 1000)
    more.lose(id, 'its worker gave no sign for ' .. seconds .. ' s', 'job_expired')
  end
  return late
end

-- A claimed job on its way to its holder: one string of JSON, since a client takes long over a reply of many parts.
-- `paneview.broker.redis.codec.to_lease` reads it. `known` is what `get` finds of these fields:
local HANDED = { 'lane', 'priority', 'token', 'attempts', 'not_before', 'kind', 'target', 'key', 'group', 'submitted_by',
  'cancel', 'timeout', 'max_attempts', 'submitted_at', 'payload', 'meta', 'after', 'errors', 'seq' }
local WHOLE = { 'priority', 'token', 'attempts', 'max_attempts', 'submitted_at', 'seq' }
local MOST_TOLD = 200 -- bytes of a field that was damaged
local JSON = { 'payload', 'meta', 'after', 'errors' }
local PLAIN = { ['{}'] = true, ['[]'] = true, [''] = true }

-- Whether clients can read a field of JSON; they put up with more levels and odder escapes than this server does.
local function readable(field, text)
  if PLAIN[text] and (field == 'errors') == (text == '') then return true end
  local read, found = pcall(cjson.decode, '[' .. text .. ']')
  if not read then return string.find(found, 'nested') or string.find(found, 'unicode escape') end
  if field == 'payload' then return #found == 1 end
  for _, one in ipairs(found) do
    if type(one) ~= 'table' then return false end
  end
  return field == 'errors' or #found == 1
end

-- Why a job cannot be handed to anybody, if something else has changed it.
local function damage(known)
  local fields = {}
  for i, field in ipairs(HANDED) do
    fields[field] = known[i]
    if not known[i] then return "its field '" .. field .. "' is missing" end
  end
  for _, field in ipairs(WHOLE) do
    if not whole(fields[field]) then return "its field '" .. field .. "' is no number: " .. fields[field] end
  end
  if not tonumber(fields.timeout) then return "its field 'timeout' is no number: " .. fields.timeout end
  for _, field in ipairs(JSON) do
    if not readable(field, fields[field]) then
      local shown = string.gsub(string.sub(fields[field], 1, MOST_TOLD), '[^ -~]', '?')
      return "its field '" .. field .. "' cannot be read: " .. shown
    end
  end
end

local function handed(id, known, owner, leased_at, lease_until, lease_ms)
  local lane, priority, token, attempts, _, kind, target, key, group, by, wish, timeout, most, at, payload, meta,
    after, errors = unpack(known)
  return '[' .. cjson.encode({ id, kind, target, lane, key, group, by, owner, wish }) .. ',[' ..
    table.concat({ priority, timeout, attempts, most, token, at, leased_at, lease_until, lease_ms }, ',') ..
    '],' .. payload .. ',' .. meta .. ',' .. after .. ',[' .. errors .. ']]'
end

-- Leases a job that is in its `state`'s set, where that is in `lane`. Nothing: it was damaged, and is a dead letter now.
local function lease(id, state, lane, owner, lease_ms, request)
  local known = get(id, unpack(HANDED))
  local wrong = damage(known)
  if wrong then
    check_room()
    take_out(id, state, lane, '')
    return more.bury(id, wrong)
  end
  local since, till = int(now), int(now + lease_ms)
  known[3], known[4] = known[3] + 1, known[4] + 1
  redis.call('HSET', job_key(id), 'state', 'leased', 'owner', owner, 'token', known[3], 'attempts', known[4],
    'leased_at', since, 'lease_ms', lease_ms, 'lease_until', till, 'request', request)
  if known[5] ~= '' then redis.call('HSET', job_key(id), 'due', '', 'not_before', '') end
  take_out(id, state, lane, owner)
  redis.call('ZADD', B .. 'leases', till, id)
  redis.call('SADD', B .. 'owner:' .. owner, id)
  count('leased', known[1], 1)
  event('job_claimed', id, owner, '{"attempt":' .. known[4] .. ',"token":' .. known[3] .. '}')
  return handed(id, known, owner, since, till, lease_ms)
end

-- A job that is leased, again.
local function leased(id)
  local owner, since, till, lease_ms = unpack(get(id, 'owner', 'leased_at', 'lease_until', 'lease_ms'))
  return handed(id, get(id, unpack(HANDED)), owner, since, till, lease_ms)
end

-- What this very request leased, if its reply was lost; in the same order.
local function leased_by(owner, request)
  local ranked, found = {}, {}
  for _, id in ipairs(redis.call('SMEMBERS', B .. 'owner:' .. owner)) do
    local its, priority, seq = unpack(get(id, 'request', 'priority', 'seq'))
    if its == request then ranked[#ranked + 1] = { id, rank(priority, seq) } end
  end
  table.sort(ranked, function(one, other) return one[2] < other[2] end)
  for i, pair in ipairs(ranked) do found[i] = leased(pair[1]) end
  return found
end

local function keys(kind, lanes)
  local names = {}
  for i, lane in ipairs(lanes) do names[i] = B .. kind .. lane end
  return names
end

-- The best of the lanes, and how many each has of them: one more than can be taken, to see if anything is left there.
-- `hint`: a lane that is likely to have some.
local function best_of(lanes, n, hint)
  local best, seen = {}, {}
  local full = redis.call('EXISTS', unpack(keys('ready:', lanes)))
  local function look(lane)
    local some = redis.call('ZRANGE', B .. 'ready:' .. lane, 0, n, 'WITHSCORES')
    for i = 1, #some, 2 do best[#best + 1] = { some[i], tonumber(some[i + 1]), lane } end
    if #some > 0 then full = full - 1 end
    seen[lane] = #some / 2
  end
  for _, lane in ipairs(lanes) do
    if lane == hint and full > 0 then look(lane) end
  end
  for _, lane in ipairs(lanes) do
    if full > 0 and not seen[lane] then look(lane) end
  end
  table.sort(best, function(one, other) return one[2] < other[2] end)
  return best, seen
end

-- Sleepers on the lanes: the one that woke us may have been meant for what is left; where nothing is, nobody is to wake.
local function leave_tokens(lanes, left)
  local empty = {}
  for _, lane in ipairs(lanes) do
    if (left[lane] or 0) == 0 then
      empty[#empty + 1] = lane
    elseif redis.call('EXISTS', B .. 'wake:' .. lane) == 0 then
      wake(lane)
    end
  end
  if #empty > 0 then redis.call('DEL', unpack(keys('wake:', empty))) end
end

-- The next jobs: { owner, n, lease_ms, lanes = {...} }, the request's own name, whether it is repeated, a hint.
local function claim(want, request, again, hint)
  if again then
    local found = leased_by(want.owner, request)
    if #found > 0 then return found end
  end
  promote()
  expire()
  local found, best, left = {}, nil, nil
  repeat
    local room, sound = want.n - #found, true
    best, left = best_of(want.lanes, room, hint)
    for i = 1, math.min(room, #best) do
      local id, _, lane = unpack(best[i])
      local one = lease(id, 'queued', lane, want.owner, want.lease_ms, request)
      if one then found[#found + 1] = one else sound = false end
      left[lane] = left[lane] - 1
    end
  until sound or #found == want.n
  leave_tokens(want.lanes, left)
  return found
end

-- Milliseconds until something is due, -1 if nothing is.
local function next_due()
  local first = -1
  for _, name in ipairs({ 'delayed', 'leases' }) do
    local head = redis.call('ZRANGE', B .. name, 0, 0, 'WITHSCORES')
    if #head > 0 then
      local left = math.max(0, tonumber(head[2]) - now)
      if first < 0 or left < first then first = left end
    end
  end
  return first
end
