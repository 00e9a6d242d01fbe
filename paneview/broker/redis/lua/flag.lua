-- ARGV: scope, name, value (JSON), ttl ms or ''.
local till = ARGV[4] ~= '' and int(now + tonumber(ARGV[4])) or ''
redis.call('HSET', B .. 'flags:' .. ARGV[1], ARGV[2], till .. ' ' .. ARGV[3])
return 1
