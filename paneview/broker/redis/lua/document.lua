-- ARGV: scope, name, version to replace, value (JSON), leader's name ('' for none), its epoch, event ('' for none), its
-- detail, the call's own id. The new version; 'conflict'; 'stale'. What was stored already by a call whose reply was lost is no conflict.
if ARGV[5] ~= '' and redis.call('HGET', B .. 'leader:' .. ARGV[5], 'epoch') ~= ARGV[6] then return 'stale' end
local values, versions = B .. 'docs:' .. ARGV[1], B .. 'docs:' .. ARGV[1] .. ':versions'
local version = tonumber(redis.call('HGET', versions, ARGV[2]) or '0')
local following = tonumber(ARGV[3]) + 1
local text = int(following) .. ' ' .. ARGV[9] .. ' ' .. ARGV[4]
if version == following and redis.call('HGET', values, ARGV[2]) == text then return int(following) end
if version ~= following - 1 then return 'conflict' end
redis.call('HSET', values, ARGV[2], text)
redis.call('HSET', versions, ARGV[2], int(following))
if ARGV[7] ~= '' then event(ARGV[7], '', '', ARGV[8]) end
return int(following)
