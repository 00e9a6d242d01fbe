-- ARGV: id, detail for the event.
local till = redis.call('ZSCORE', B .. 'beats', ARGV[1])
if not till then return 0 end
redis.call('ZREM', B .. 'beats', ARGV[1])
-- No reaper has seen that it was silent: who looks for the hung was sooner.
if tonumber(till) <= now then event('heartbeat_missed', '', ARGV[1]) end
redis.call('ZADD', B .. 'gone', int(now), ARGV[1])
event('worker_stopped', '', ARGV[1], ARGV[2])
return 1
