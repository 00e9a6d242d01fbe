-- ARGV: id, token, lease ms, and so on. For each: 1 held, 2 to be cancelled, 0 lost.
local holds = {}
for i = 1, #ARGV, 3 do
  local state, token, wish = unpack(get(ARGV[i], 'state', 'token', 'cancel'))
  if state == 'leased' and token == ARGV[i + 1] then
    local till = int(now + tonumber(ARGV[i + 2]))
    redis.call('ZADD', B .. 'leases', till, ARGV[i])
    redis.call('HSET', job_key(ARGV[i]), 'lease_until', till)
    holds[#holds + 1] = wish == '' and 1 or 2
  else
    holds[#holds + 1] = 0
  end
end
return holds
