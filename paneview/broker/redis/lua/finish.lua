-- ARGV: id, token, status, output, error ('e' before it, or ''), host, what an error leads to (state), delay ms,
-- follow-ups (JSON), the next claim (JSON or ''). { verdict, state, follow-ups, next jobs }
local id, brought, status = ARGV[1], ARGV[2], ARGV[3]

local function settle()
  local state, token, wish, owner = unpack(get(id, 'state', 'token', 'cancel', 'owner'))
  if not state then return 'stale', '' end
  if token ~= brought or state == 'cancelled' then return 'stale', state end
  if state == 'done' then return 'already', state end
  if state ~= 'leased' and status ~= 'ok' then return 'already', state end
  result(id, status, ARGV[4], ARGV[5], ARGV[6])
  if status == 'ok' then
    if wish ~= '' then redis.call('HSET', job_key(id), 'cancel', '') end
    over(id, 'done')
    event('job_done', id, owner)
    after_done(id)
    return 'accepted', 'done'
  end
  if status == 'cancelled' or wish ~= '' then
    local reason = wish ~= '' and string.sub(wish, 2) or string.sub(ARGV[5], 2)
    cancel(id, reason ~= '' and reason or 'by its worker', true)
    return 'accepted', 'cancelled'
  end
  local message = ARGV[5] ~= '' and string.sub(ARGV[5], 2) or 'failed'
  attempt_error(id, message)
  if ARGV[7] == 'dead' then
    die(id)
  else
    redis.call('HDEL', job_key(id), 'r_status')
    event('job_retry', id, owner, '{"error":' .. cjson.encode(message) .. ',"delay":' .. tonumber(ARGV[8]) / 1000 .. '}')
    withdraw(id)
    queue_or_delay(id, ARGV[7] == 'delayed' and now + tonumber(ARGV[8]) or 0)
  end
  return 'accepted', get(id, 'state')[1]
end

local verdict, state = settle()
local submitted, found = {}, {}
if verdict == 'accepted' and state == 'done' then
  for i, job in ipairs(cjson.decode(ARGV[9])) do submitted[i] = insert(job) end
end
if ARGV[10] ~= '' then found = claim(cjson.decode(ARGV[10])) end
return { verdict, state, submitted, found }
