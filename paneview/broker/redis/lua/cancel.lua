-- ARGV: id, reason. What it did; '' if there is no such job.
local id = ARGV[1]
local state, owner, wish = unpack(get(id, 'state', 'owner', 'cancel'))
if not state then return '' end
if state == 'done' or state == 'dead' or state == 'cancelled' then return 'over' end
if state ~= 'leased' then
  more.cancel(id, ARGV[2], false)
  return 'cancelled'
end
if wish == '' then redis.call('HSET', job_key(id), 'cancel', 'c' .. ARGV[2]) end
event('cancel_requested', id, owner, '{"reason":' .. cjson.encode(ARGV[2]) .. '}')
wake('@' .. owner)
return 'requested'
