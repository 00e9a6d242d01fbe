-- ARGV: ids, or none for all dead letters. How many were forgotten.
local ids = #ARGV > 0 and ARGV or redis.call('ZRANGE', B .. 'over:dead', 0, -1)
local number = 0
for _, id in ipairs(ids) do
  if get(id, 'state')[1] == 'dead' then
    more.forget(id)
    event('dead_purged', id, '')
    number = number + 1
  end
end
return number
