-- ARGV: id, owner, lease ms, request, '1' if repeated. The job; 0 if it cannot be claimed, -1 if there is none.
local id = ARGV[1]
local state, request, owner, lane = unpack(get(id, 'state', 'request', 'owner', 'lane'))
if not state then return -1 end
if ARGV[5] == '1' and state == 'leased' and request == ARGV[4] and owner == ARGV[2] then
  return leased(id)
end
if state ~= 'queued' and state ~= 'delayed' then return 0 end
return lease(id, state, lane or '', ARGV[2], tonumber(ARGV[3]), ARGV[4]) or 0
