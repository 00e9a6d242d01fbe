-- ARGV: ids. The ids of those that were forgotten.
local done = {}
for _, id in ipairs(ARGV) do
  if get(id, 'state')[1] == 'dead' then
    more.forget(id)
    event('dead_purged', id, '')
    done[#done + 1] = id
  end
end
return done
