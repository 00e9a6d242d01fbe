-- ARGV: id, token, status, output, error ('e' before it, or ''), host, what an error leads to (state), delay ms,
-- follow-ups (JSON), the next claim (JSON or ''), its name, '1' if it is repeated.
-- JSON: [verdict, state, [[id, whether it is new], ...] of the follow-ups, [next jobs...]]
local id, brought, status = ARGV[1], ARGV[2], ARGV[3]
local lane

local function settle()
  local state, token, wish, owner, attempts, leased_at, seq
  state, token, wish, owner, attempts, leased_at, seq, lane =
    unpack(get(id, 'state', 'token', 'cancel', 'owner', 'attempts', 'leased_at', 'seq', 'lane'))
  if not state then return 'stale', '' end
  if token ~= brought or state == 'cancelled' then return 'stale', state end
  if state == 'done' then return 'already', state end
  if state ~= 'leased' and status ~= 'ok' then return 'already', state end
  if status == 'ok' then
    redis.call('HSET', job_key(id), 'state', 'done', 'ended_at', int(now), 'due', '', 'cancel', '', 'r_status', status,
      'r_output', ARGV[4], 'r_error', ARGV[5], 'r_host', ARGV[6], 'r_worker', owner, 'r_token', token,
      'r_attempt', attempts, 'r_started', leased_at)
    take_out(id, state, lane, owner)
    redis.call('ZADD', B .. 'over:done', whole(seq) or 0, id)
    event('job_done', id, owner)
    if redis.call('EXISTS', B .. 'ears:' .. id, B .. 'needs:' .. id) > 0 then
      more.wake_ears(id)
      more.after_done(id)
    end
    return 'accepted', 'done'
  end
  more.result(id, status, ARGV[4], ARGV[5], ARGV[6])
  if status == 'cancelled' or wish ~= '' then
    local reason = wish ~= '' and string.sub(wish, 2) or string.sub(ARGV[5], 2)
    more.cancel(id, reason ~= '' and reason or 'by its worker', true)
    return 'accepted', 'cancelled'
  end
  local message = ARGV[5] ~= '' and string.sub(ARGV[5], 2) or 'failed'
  more.attempt_error(id, message)
  if ARGV[7] == 'dead' then
    more.die(id)
  else
    redis.call('HDEL', job_key(id), 'r_status')
    event('job_retry', id, owner, '{"error":' .. cjson.encode(message) .. ',"delay":' .. tonumber(ARGV[8]) / 1000 .. '}')
    more.withdraw(id)
    more.queue_or_delay(id, ARGV[7] == 'delayed' and now + tonumber(ARGV[8]) or 0)
  end
  return 'accepted', get(id, 'state')[1]
end

local verdict, state = settle()
local submitted, found = {}, {}
if verdict == 'accepted' and state == 'done' and ARGV[9] ~= '[]' then
  for i, job in ipairs(cjson.decode(ARGV[9])) do submitted[i] = string.format('["%s",%d]', unpack(insert(job))) end
end
if ARGV[10] ~= '' then found = claim(cjson.decode(ARGV[10]), ARGV[11], ARGV[12] == '1', lane) end
return string.format('["%s","%s",[', verdict, state) .. table.concat(submitted, ',') .. '],[' ..
  table.concat(found, ',') .. ']]'
