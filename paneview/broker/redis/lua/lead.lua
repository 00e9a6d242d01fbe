-- ARGV: name, owner, ttl ms. The epoch, 0 if another leads.
local key = B .. 'leader:' .. ARGV[1]
local owner, epoch, till = unpack(redis.call('HMGET', key, 'owner', 'epoch', 'until'))
epoch, till = tonumber(epoch or '0'), tonumber(till or '0')
if owner ~= ARGV[2] or till <= now then
  if owner ~= ARGV[2] and till > now then return 0 end
  epoch = epoch + 1
  event('leader_changed', '', ARGV[2], '{"name":' .. cjson.encode(ARGV[1]) .. ',"epoch":' .. epoch .. '}')
end
redis.call('HSET', key, 'owner', ARGV[2], 'epoch', int(epoch), 'until', int(now + tonumber(ARGV[3])))
return epoch
