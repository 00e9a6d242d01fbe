-- How jobs end otherwise than well, and what most scripts never need. Made when it is first asked for: to make as many
-- functions takes a server that has just woken longer than all that a script does.
local more = setmetatable({}, { __index = function(more, name)
setmetatable(more, nil)

local function wake_ears(id)
  local ears = redis.call('SMEMBERS', B .. 'ears:' .. id)
  for _, ear in ipairs(ears) do wake(ear) end
  if #ears > 0 then redis.call('DEL', B .. 'ears:' .. id) end
end

-- A job that something else has damaged, and that waits nowhere any more: a dead letter, which is told. If it is not there
-- at all, nothing is left of it.
local function bury(id, why)
  local message = 'it is damaged in the queue: ' .. why
  if redis.call('EXISTS', job_key(id)) == 1 then
    redis.call('HSET', job_key(id), 'state', 'dead', 'ended_at', int(now), 'due', '', 'not_before', '', 'r_status',
      'error', 'r_output', 'null', 'r_error', 'e' .. message, 'r_host', '', 'r_worker', '', 'r_token', 0, 'r_attempt', 0,
      'r_started', '')
    redis.call('ZADD', B .. 'over:dead', redis.call('ZSCORE', B .. 'jobs', id) or 0, id)
  else
    redis.call('ZREM', B .. 'jobs', id)
  end
  wake_ears(id)
  event('job_dead', id, '', '{"error":' .. cjson.encode(message) .. '}')
  more.after_failed(id, 'is damaged')
end

local function queue_or_delay(id, due)
  local lane, priority, seq = unpack(get(id, 'lane', 'priority', 'seq'))
  if not (lane and whole(priority) and whole(seq)) then
    return bury(id, "its fields 'lane', 'priority' and 'seq' do not say where it belongs")
  end
  if due > now then
    redis.call('HSET', job_key(id), 'state', 'delayed', 'due', int(due), 'not_before', int(due))
  else
    redis.call('HSET', job_key(id), 'state', 'queued', 'due', '')
  end
  line_up(id, lane, priority, seq, due)
end

-- `found`: the state in whose set it was found.
local function withdraw(id, found)
  local state, lane, owner, seq = unpack(get(id, 'state', 'lane', 'owner', 'seq'))
  take_out(id, found or state, lane or '', owner or '')
  return whole(seq) or redis.call('ZSCORE', B .. 'jobs', id) or 0
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
  local owner, attempts, limit, wish, token, errors =
    unpack(get(id, 'owner', 'attempts', 'max_attempts', 'cancel', 'token', 'errors'))
  if not (owner and whole(attempts) and whole(limit) and wish and whole(token) and errors) then
    withdraw(id, 'leased')
    return bury(id, "its fields 'attempts', 'max_attempts' and the like do not say how often it was tried")
  end
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

local function forget(id)
  local key, group = unpack(get(id, 'key', 'group'))
  withdraw(id)
  if key and key ~= '' and redis.call('HGET', B .. 'keys', key) == id then redis.call('HDEL', B .. 'keys', key) end
  if group and group ~= '' then redis.call('ZREM', B .. 'group:' .. group, id) end
  redis.call('ZREM', B .. 'jobs', id)
  redis.call('DEL', job_key(id))
end

more.wake_ears = wake_ears
more.after_failed = after_failed
more.bury = bury
more.queue_or_delay = queue_or_delay
more.withdraw = withdraw
more.attempt_error = attempt_error
more.result = result
more.cancel = cancel
more.die = die
more.after_done = after_done
more.lose = lose
more.forget = forget
return more[name]
end })
