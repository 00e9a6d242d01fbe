-- ARGV: ids. How many were forgotten.
local number = 0
for _, id in ipairs(ARGV) do
  if get(id, 'state')[1] == 'dead' then
    more.forget(id)
    event('dead_purged', id, '')
    number = number + 1
  end
end
return number
