-- ARGV: jobs (JSON), most waiting jobs per lane ('' for no limit). All or none.
local jobs, limit = cjson.decode(ARGV[1]), tonumber(ARGV[2])
if limit then
  local coming, keys = {}, {}
  for _, job in ipairs(jobs) do
    local known = redis.call('EXISTS', job_key(job.id)) == 1
    local existing = job.key ~= '' and redis.call('HGET', B .. 'keys', job.key)
    local twin = job.key ~= '' and keys[job.key]
    if not known and not twin and not (existing and redis.call('EXISTS', job_key(existing)) == 1) then
      local lane = job.lane
      keys[job.key] = true
      coming[lane] = coming[lane] or
        redis.call('ZCARD', B .. 'ready:' .. lane) + counted('delayed', lane) + counted('blocked', lane)
      if coming[lane] >= limit then return { 'full', lane } end
      coming[lane] = coming[lane] + 1
    end
  end
end
local submitted = {}
for i, job in ipairs(jobs) do submitted[i] = insert(job) end
return submitted
