-- ARGV: ids. The ids of those that were queued.
local done = {}
for _, id in ipairs(ARGV) do
  if get(id, 'state')[1] == 'dead' then
    more.withdraw(id)
    redis.call('HSET', job_key(id), 'attempts', 0, 'ended_at', '', 'cancel', '')
    redis.call('HDEL', job_key(id), 'r_status')
    more.queue_or_delay(id, 0)
    if get(id, 'state')[1] ~= 'dead' then -- it was damaged
      event('dead_retried', id, '')
      done[#done + 1] = id
    end
  end
end
return done
