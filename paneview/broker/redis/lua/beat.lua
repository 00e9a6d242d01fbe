-- ARGV: id. 1, or 0 if it is not registered or was taken for lost.
if not redis.call('ZSCORE', B .. 'beats', ARGV[1]) then return 0 end
local ttl = cjson.decode(redis.call('HGET', B .. 'workers', ARGV[1])).ttl
redis.call('ZADD', B .. 'beats', int(now + ttl * 1000), ARGV[1])
return 1
