-- How jobs come in.

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
  local later = due > 0 and int(due) or ''
  local state = (failed and 'new') or (#waits_for > 0 and 'blocked') or (due > 0 and 'delayed') or 'queued'
  redis.call('HSET', job_key(job.id), 'id', job.id, 'seq', int(seq), 'lane', job.lane, 'priority', int(job.priority),
    'kind', job.kind, 'payload', job.payload, 'target', job.lane, 'timeout', job.timeout, 'attempts', 0,
    'max_attempts', int(job.max_attempts), 'token', 0, 'key', job.key, 'meta', job.meta, 'after', job.after_json,
    'waits_for', #waits_for, 'group', job.group, 'submitted_by', job.by, 'submitted_at', int(now), 'owner', '',
    'leased_at', '', 'cancel', '', 'errors', '', 'ended_at', '', 'not_before', later, 'due', later, 'state', state)
  redis.call('ZADD', B .. 'jobs', int(seq), job.id)
  if job.group ~= '' then redis.call('ZADD', B .. 'group:' .. job.group, int(seq), job.id) end
  event('job_submitted', job.id, '', job.note)
  if failed then
    more.cancel(job.id, 'it needs ' .. failed .. ', which is not there or did not end well', false)
  elseif state == 'blocked' then
    for _, need in ipairs(waits_for) do redis.call('SADD', B .. 'needs:' .. need, job.id) end
    redis.call('SADD', B .. 'blocked', job.id)
    redis.call('SADD', B .. 'lanes', job.lane)
    count('blocked', job.lane, 1)
  else
    line_up(job.id, job.lane, job.priority, seq, due)
  end
  return { job.id, 1 }
end
