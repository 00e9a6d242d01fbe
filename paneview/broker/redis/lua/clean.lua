-- ARGV: state, sequence number to go on from, ms of age, how many to look at. { looked at, last number, forgotten }
local some = redis.call('ZRANGEBYSCORE', B .. 'over:' .. ARGV[1], '(' .. ARGV[2], '+inf', 'WITHSCORES',
  'LIMIT', 0, ARGV[4])
local forgotten, last = 0, ARGV[2]
for i = 1, #some, 2 do
  last = some[i + 1]
  if tonumber(get(some[i], 'ended_at')[1] or '0') <= now - tonumber(ARGV[3]) then
    more.forget(some[i])
    forgotten = forgotten + 1
  end
end
return { #some / 2, last, forgotten }
