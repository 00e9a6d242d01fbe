-- Begins every script. All keys start with KEYS[1], which holds the hash tag: one slot, one prefix for ACLs.
--
--   job:ID        hash, everything about a job          jobs, over:STATE, group:G   sorted by sequence number
--   ready:LANE    sorted by priority, then sequence     delayed, leases             sorted by due time, ms
--   blocked       set of ids                            n:STATE                     hash, jobs per lane
--   needs:ID      set: who waits for that job           owner:O                     set: what a holder holds
--   wake:LANE     list: one token per sleeper to wake   ears:ID                     set: who waits for a result
--
-- Times are milliseconds of this server's clock, never of a client's.

local B = KEYS[1]
local BUCKET = 4398046511104 -- 2^42 sequence numbers per priority; with 999 priorities a double stays exact
local AT_ONCE = 100

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function int(number) return string.format('%.0f', number) end

local function job_key(id) return B .. 'job:' .. id end

local function get(id, ...) return redis.call('HMGET', job_key(id), ...) end

-- A server that is out of memory, or cannot save, refuses commands that add and takes those that remove. So the first
-- command of a script that writes must be one that adds: it fails before anything is done, never half way.
local function check_room() redis.call('SET', B .. 'probe', '') end

-- Each call of the server takes as long as a hundred lines of a script. So events and numbers are gathered, and written
-- by `write_down` when the script has done the rest.
local events, numbers = {}, {}

local function event(kind, id, worker, detail) events[#events + 1] = { kind, id, worker, detail or '{}' } end

local function count(state, lane, change)
  local lanes = numbers[state] or {}
  numbers[state] = lanes
  lanes[lane] = (lanes[lane] or 0) + change
end

local function write_down()
  for state, lanes in pairs(numbers) do
    for lane, change in pairs(lanes) do
      if change ~= 0 and redis.call('HINCRBY', B .. 'n:' .. state, lane, change) <= 0 then
        redis.call('HDEL', B .. 'n:' .. state, lane)
      end
    end
  end
  if #events == 0 then return end
  local last = redis.call('INCRBY', B .. 'events:last', #events)
  for i, one in ipairs(events) do
    redis.call('XADD', B .. 'events', int(last - #events + i) .. '-0',
      'ts', int(now), 'kind', one[1], 'job', one[2], 'worker', one[3], 'detail', one[4])
  end
  if last % 64 < #events then
    redis.call('XTRIM', B .. 'events', 'MAXLEN', '~', redis.call('GET', B .. 'events:keep') or '100000')
  end
end

local function counted(state, lane) return tonumber(redis.call('HGET', B .. 'n:' .. state, lane) or '0') end

-- Wakes one who sleeps on the lane, or the next who goes to sleep there within a minute.
local function wake(name)
  local tokens = redis.call('LPUSH', B .. 'wake:' .. name, '.')
  if tokens == 1 then redis.call('PEXPIRE', B .. 'wake:' .. name, 60000) end
  if tokens > 64 then redis.call('LTRIM', B .. 'wake:' .. name, 0, 63) end
end

local function wake_ears(id)
  local ears = redis.call('SMEMBERS', B .. 'ears:' .. id)
  for _, ear in ipairs(ears) do wake(ear) end
  if #ears > 0 then redis.call('DEL', B .. 'ears:' .. id) end
end

-- By priority, the highest first, then by age.
local function rank(priority, seq) return tonumber(seq) - tonumber(priority) * BUCKET end

local function queue(id, lane, priority, seq)
  redis.call('ZADD', B .. 'ready:' .. lane, int(rank(priority, seq)), id)
  redis.call('SADD', B .. 'lanes', lane)
  redis.call('HSET', job_key(id), 'state', 'queued', 'due', '')
  wake(lane)
end

local function delay(id, lane, due)
  redis.call('ZADD', B .. 'delayed', int(due), id)
  redis.call('SADD', B .. 'lanes', lane)
  redis.call('HSET', job_key(id), 'state', 'delayed', 'due', int(due), 'not_before', int(due))
  count('delayed', lane, 1)
  wake(lane) -- it may be due sooner than what the sleepers wait for
end

local function queue_or_delay(id, due)
  local lane, priority, seq = unpack(get(id, 'lane', 'priority', 'seq'))
  if due > now then
    delay(id, lane, due)
  else
    queue(id, lane, priority, seq)
  end
end

-- Takes a job out of the set that its state has.
local function take_out(id, state, lane, owner)
  if state == 'queued' then
    redis.call('ZREM', B .. 'ready:' .. lane, id)
  elseif state == 'delayed' then
    redis.call('ZREM', B .. 'delayed', id)
    count('delayed', lane, -1)
  elseif state == 'blocked' then
    redis.call('SREM', B .. 'blocked', id)
    count('blocked', lane, -1)
  elseif state == 'leased' then
    redis.call('ZREM', B .. 'leases', id)
    redis.call('SREM', B .. 'owner:' .. owner, id)
    count('leased', lane, -1)
  elseif state then
    redis.call('ZREM', B .. 'over:' .. state, id)
  end
end

local function withdraw(id)
  local state, lane, owner, seq = unpack(get(id, 'state', 'lane', 'owner', 'seq'))
  take_out(id, state, lane, owner)
  return tonumber(seq)
end

local function attempt_error(id, message)
  local owner, token, attempts, errors = unpack(get(id, 'owner', 'token', 'attempts', 'errors'))
  local one = string.format('{"number":%s,"token":%s,"worker":%s,"error":%s,"at":%.3f}',
    attempts, token, cjson.encode(owner), cjson.encode(message), now / 1000)
  redis.call('HSET', job_key(id), 'errors', errors == '' and one or (errors .. ',' .. one))
end

local function result(id, status, output, message, host)
  local owner, token, attempts, leased_at = unpack(get(id, 'owner', 'token', 'attempts', 'leased_at'))
  redis.call('HSET', job_key(id), 'r_status', status, 'r_output', output, 'r_error', message, 'r_host', host,
    'r_worker', owner, 'r_token', token, 'r_attempt', attempts, 'r_started', leased_at)
end

-- The job is over: done, dead or cancelled. The result must be set.
local function over(id, state)
  local seq = withdraw(id)
  redis.call('HSET', job_key(id), 'state', state, 'ended_at', int(now), 'due', '')
  redis.call('ZADD', B .. 'over:' .. state, int(seq), id)
  wake_ears(id)
end

local function cancelled(id, reason, has_result)
  local after = cjson.decode(get(id, 'after')[1])
  for _, need in ipairs(after) do redis.call('SREM', B .. 'needs:' .. need, id) end
  if not has_result then result(id, 'cancelled', 'null', 'e' .. reason, '') end
  redis.call('HSET', job_key(id), 'cancel', 'c' .. reason)
  over(id, 'cancelled')
  event('job_cancelled', id, get(id, 'owner')[1], '{"reason":' .. cjson.encode(reason) .. '}')
end

-- What waited for a job that died or was cancelled, and what waited for that, and so on.
local function after_failed(id, what)
  local failed = { { id, what } }
  while #failed > 0 do
    local need, how = unpack(table.remove(failed))
    for _, waiting in ipairs(redis.call('SMEMBERS', B .. 'needs:' .. need)) do
      cancelled(waiting, 'it needs ' .. need .. ', which ' .. how, false)
      failed[#failed + 1] = { waiting, 'was cancelled' }
    end
    redis.call('DEL', B .. 'needs:' .. need)
  end
end

local function cancel(id, reason, has_result)
  cancelled(id, reason, has_result)
  after_failed(id, 'was cancelled')
end

local function die(id)
  over(id, 'dead')
  local owner, message = unpack(get(id, 'owner', 'r_error'))
  event('job_dead', id, owner, '{"error":' .. cjson.encode(string.sub(message, 2)) .. '}')
  after_failed(id, 'is dead')
end

local function after_done(id)
  for _, waiting in ipairs(redis.call('SMEMBERS', B .. 'needs:' .. id)) do
    if redis.call('HINCRBY', job_key(waiting), 'waits_for', -1) == 0 then
      withdraw(waiting)
      queue_or_delay(waiting, tonumber(get(waiting, 'due')[1]) or 0)
      event('job_unblocked', waiting, '', '{"by":"' .. id .. '"}')
    end
  end
  redis.call('DEL', B .. 'needs:' .. id)
end

-- A leased job whose holder is gone: to the queue, or to where it ends.
local function lose(id, reason, kind)
  local owner, attempts, limit, wish = unpack(get(id, 'owner', 'attempts', 'max_attempts', 'cancel'))
  attempt_error(id, reason)
  event(kind, id, owner, '{"reason":' .. cjson.encode(reason) .. ',"attempt":' .. attempts .. '}')
  if wish ~= '' then
    cancel(id, string.sub(wish, 2), false)
  elseif tonumber(attempts) >= tonumber(limit) then
    result(id, 'error', 'null', 'e' .. reason, '')
    die(id)
  else
    withdraw(id)
    queue_or_delay(id, 0)
  end
end

local function promote()
  local due = redis.call('ZRANGEBYSCORE', B .. 'delayed', '-inf', int(now), 'LIMIT', 0, AT_ONCE)
  if #due > 0 then check_room() end
  for _, id in ipairs(due) do
    withdraw(id)
    queue_or_delay(id, 0)
  end
  return #due
end

local function expire()
  local late = redis.call('ZRANGEBYSCORE', B .. 'leases', '-inf', int(now), 'LIMIT', 0, AT_ONCE)
  for _, id in ipairs(late) do
    local seconds = string.format('%g', tonumber(get(id, 'lease_ms')[1]) / 1000)
    lose(id, 'its worker gave no sign for ' .. seconds .. ' s', 'job_expired')
  end
  return late
end

-- A claimed job on its way to its holder: one string of JSON, since a client takes long over a reply of many parts.
-- `paneview.broker.redis.codec.to_lease` reads it. `known` is what `get` finds of these fields:
local HANDED = { 'lane', 'priority', 'token', 'attempts', 'not_before', 'kind', 'target', 'key', 'group', 'submitted_by',
  'cancel', 'timeout', 'max_attempts', 'submitted_at', 'payload', 'meta', 'after', 'errors' }

local function handed(id, known, owner, leased_at, lease_until, lease_ms)
  local lane, priority, token, attempts, _, kind, target, key, group, by, wish, timeout, most, at, payload, meta,
    after, errors = unpack(known)
  return '[' .. cjson.encode({ id, kind, target, lane, key, group, by, owner, wish }) .. ',[' ..
    table.concat({ priority, timeout, attempts, most, token, at, leased_at, lease_until, lease_ms }, ',') ..
    '],' .. payload .. ',' .. meta .. ',' .. after .. ',[' .. errors .. ']]'
end

-- Leases a job that is in its `state`'s set.
local function lease(id, state, owner, lease_ms, request)
  local known = get(id, unpack(HANDED))
  local lane, since, till = known[1], int(now), int(now + lease_ms)
  known[3], known[4] = known[3] + 1, known[4] + 1
  redis.call('HSET', job_key(id), 'state', 'leased', 'owner', owner, 'token', known[3], 'attempts', known[4],
    'leased_at', since, 'lease_ms', lease_ms, 'lease_until', till, 'request', request)
  if known[5] ~= '' then redis.call('HSET', job_key(id), 'due', '', 'not_before', '') end
  take_out(id, state, lane, owner)
  redis.call('ZADD', B .. 'leases', till, id)
  redis.call('SADD', B .. 'owner:' .. owner, id)
  count('leased', lane, 1)
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
  local best, left = best_of(want.lanes, want.n, hint)
  local found = {}
  for i = 1, math.min(want.n, #best) do
    local id, _, lane = unpack(best[i])
    found[i] = lease(id, 'queued', want.owner, want.lease_ms, request)
    left[lane] = left[lane] - 1
  end
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

-- One new job, as `paneview.broker.redis.codec.new_job` writes it. Its id, and whether it was not there.
local function insert(job)
  if redis.call('EXISTS', job_key(job.id)) == 1 then return { job.id, 0 } end
  if job.key ~= '' then
    local existing = redis.call('HGET', B .. 'keys', job.key)
    if existing and redis.call('EXISTS', job_key(existing)) == 1 then return { existing, 0 } end
    redis.call('HSET', B .. 'keys', job.key, job.id)
  end
  local seq = redis.call('INCR', B .. 'seq')
  local due = job.delay_ms > 0 and now + job.delay_ms or 0
  local waits_for, failed = {}, nil
  for _, need in ipairs(job.after) do
    local state = get(need, 'state')[1]
    if state ~= 'done' then
      waits_for[#waits_for + 1] = need
      if not state or state == 'dead' or state == 'cancelled' then failed = failed or need end
    end
  end
  redis.call('HSET', job_key(job.id), 'id', job.id, 'seq', int(seq), 'lane', job.lane, 'priority', int(job.priority),
    'kind', job.kind, 'payload', job.payload, 'target', job.lane, 'timeout', job.timeout, 'attempts', 0,
    'max_attempts', int(job.max_attempts), 'token', 0, 'key', job.key, 'meta', job.meta, 'after', job.after_json,
    'waits_for', #waits_for, 'group', job.group, 'submitted_by', job.by, 'submitted_at', int(now), 'owner', '',
    'leased_at', '', 'cancel', '', 'errors', '', 'ended_at', '', 'not_before', '', 'due', '', 'state', 'new')
  redis.call('ZADD', B .. 'jobs', int(seq), job.id)
  if job.group ~= '' then redis.call('ZADD', B .. 'group:' .. job.group, int(seq), job.id) end
  event('job_submitted', job.id, '', job.note)
  if failed then
    cancel(job.id, 'it needs ' .. failed .. ', which is not there or did not end well', false)
  elseif #waits_for > 0 then
    for _, need in ipairs(waits_for) do redis.call('SADD', B .. 'needs:' .. need, job.id) end
    redis.call('SADD', B .. 'blocked', job.id)
    redis.call('SADD', B .. 'lanes', job.lane)
    redis.call('HSET', job_key(job.id), 'state', 'blocked')
    if due > 0 then redis.call('HSET', job_key(job.id), 'due', int(due), 'not_before', int(due)) end
    count('blocked', job.lane, 1)
  else
    queue_or_delay(job.id, due)
  end
  return { job.id, 1 }
end

local function forget(id)
  local key, group = unpack(get(id, 'key', 'group'))
  withdraw(id)
  if key and key ~= '' and redis.call('HGET', B .. 'keys', key) == id then redis.call('HDEL', B .. 'keys', key) end
  if group and group ~= '' then redis.call('ZREM', B .. 'group:' .. group, id) end
  redis.call('ZREM', B .. 'jobs', id)
  redis.call('DEL', job_key(id))
end
