-- ARGV: id, info (JSON), ttl ms, the lane of its heir, detail for the event.
redis.call('HSET', B .. 'workers', ARGV[1], ARGV[2])
redis.call('HSET', B .. 'started', ARGV[1], int(now))
redis.call('HSET', B .. 'heirs', ARGV[1], ARGV[4])
redis.call('ZADD', B .. 'beats', int(now + tonumber(ARGV[3])), ARGV[1])
redis.call('ZREM', B .. 'gone', ARGV[1])
event('worker_started', '', ARGV[1], ARGV[5])
return 1
