-- ARGV: name, epoch.
local key = B .. 'leader:' .. ARGV[1]
if redis.call('HGET', key, 'epoch') == ARGV[2] then redis.call('HSET', key, 'until', '0') end
return 1
