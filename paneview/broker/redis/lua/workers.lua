-- { info, started ms, ms until its heartbeat is missed ('' if it is gone), ms since it left or '', ids it holds }
local all = {}
for _, worker in ipairs(redis.call('HKEYS', B .. 'workers')) do
  local till = redis.call('ZSCORE', B .. 'beats', worker)
  local gone = redis.call('ZSCORE', B .. 'gone', worker)
  all[#all + 1] = {
    redis.call('HGET', B .. 'workers', worker), redis.call('HGET', B .. 'started', worker),
    till and int(tonumber(till) - now) or '', gone and int(now - tonumber(gone)) or '',
    redis.call('SMEMBERS', B .. 'owner:' .. worker),
  }
end
return all
