-- ARGV: leader's name ('' for none), its epoch, ms after which workers that left are forgotten.
-- 'stale', or { ids of expired jobs, how many were readdressed, ids of lost workers, how many were promoted }
if ARGV[1] ~= '' and redis.call('HGET', B .. 'leader:' .. ARGV[1], 'epoch') ~= ARGV[2] then return 'stale' end
local promoted, expired = promote(), expire()
local lost = redis.call('ZRANGEBYSCORE', B .. 'beats', '-inf', int(now))
for _, worker in ipairs(lost) do
  redis.call('ZREM', B .. 'beats', worker)
  redis.call('ZADD', B .. 'gone', int(now), worker)
  event('heartbeat_missed', '', worker)
end
local readdressed = 0
for _, worker in ipairs(redis.call('ZRANGE', B .. 'gone', 0, -1)) do
  local lane = 'w:' .. worker
  local heir = redis.call('HGET', B .. 'heirs', worker)
  for _, id in ipairs(redis.call('ZRANGE', B .. 'ready:' .. lane, 0, AT_ONCE - 1)) do
    more.withdraw(id)
    redis.call('HSET', job_key(id), 'lane', heir)
    more.queue_or_delay(id, 0)
    event('job_readdressed', id, worker, '{"lane":' .. cjson.encode(heir) .. '}')
    readdressed = readdressed + 1
  end
end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', B .. 'gone', '-inf', int(now - tonumber(ARGV[3])))) do
  local lane = 'w:' .. worker
  if counted('delayed', lane) + counted('blocked', lane) == 0 then -- what is not ready yet is to have its heir then
    redis.call('ZREM', B .. 'gone', worker)
    for _, name in ipairs({ 'workers', 'started', 'heirs' }) do redis.call('HDEL', B .. name, worker) end
  end
end
return { expired, readdressed, lost, promoted }
