-- ARGV: id, detail for the event.
if redis.call('ZREM', B .. 'beats', ARGV[1]) == 0 then return 0 end
redis.call('ZADD', B .. 'gone', int(now), ARGV[1])
event('worker_stopped', '', ARGV[1], ARGV[2])
return 1
