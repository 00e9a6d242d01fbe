-- ARGV: id, token, delay ms, event's detail. 1 if it was held.
local id = ARGV[1]
local state, token, wish, owner = unpack(get(id, 'state', 'token', 'cancel', 'owner'))
if state ~= 'leased' or token ~= ARGV[2] then return 0 end
if wish ~= '' then
  more.cancel(id, string.sub(wish, 2), false)
  return 1
end
more.withdraw(id)
redis.call('HINCRBY', job_key(id), 'attempts', -1)
more.queue_or_delay(id, tonumber(ARGV[3]) > 0 and now + tonumber(ARGV[3]) or 0)
event('job_released', id, owner, ARGV[4])
return 1
