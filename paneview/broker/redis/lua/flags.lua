-- ARGV: scope, and a name to remove ('' for none). Names and values of what has not run out; before the removal.
if ARGV[2] ~= '' then check_room() end
local key = B .. 'flags:' .. ARGV[1]
local all, found = redis.call('HGETALL', key), {}
for i = 1, #all, 2 do
  local space = string.find(all[i + 1], ' ', 1, true)
  local till = tonumber(string.sub(all[i + 1], 1, space - 1))
  if till and till <= now then
    redis.pcall('HDEL', key, all[i]) -- if it can be: a server that takes no writes is to be looked at, too
  else
    found[#found + 1] = all[i]
    found[#found + 1] = string.sub(all[i + 1], space + 1)
  end
end
if ARGV[2] ~= '' then redis.call('HDEL', key, ARGV[2]) end
return found
