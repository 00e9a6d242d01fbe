-- ARGV: owner, reason. The ids of what it held.
local ids = redis.call('SMEMBERS', B .. 'owner:' .. ARGV[1])
for _, id in ipairs(ids) do more.lose(id, ARGV[2], 'job_lost') end
return ids
