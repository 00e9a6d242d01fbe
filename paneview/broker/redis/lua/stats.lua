-- { lane, queued, delayed, blocked, leased, ms that the oldest has waited or -1 } for each lane that holds anything
local function oldest(lane)
  local first, from
  for _ = 1, 2000 do -- at most one step per priority in use
    local head = redis.call('ZRANGEBYSCORE', B .. 'ready:' .. lane, from or '-inf', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if #head == 0 then break end
    local since = whole(get(head[1], 'submitted_at')[1])
    if since and (not first or since < first) then first = since end
    from = int((math.floor(tonumber(head[2]) / BUCKET) + 1) * BUCKET)
  end
  return first and math.max(0, now - first) or -1
end

local stats = {}
for _, lane in ipairs(redis.call('SMEMBERS', B .. 'lanes')) do
  local queued = redis.call('ZCARD', B .. 'ready:' .. lane)
  local delayed, blocked, leased = counted('delayed', lane), counted('blocked', lane), counted('leased', lane)
  if queued + delayed + blocked + leased > 0 then
    stats[#stats + 1] = { lane, queued, delayed, blocked, leased, oldest(lane) }
  else
    redis.pcall('SREM', B .. 'lanes', lane) -- as in flags
  end
end
return stats
